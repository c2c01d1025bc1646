"""Check a training set and the verification sets beside it, and name every fault in one pass.

    python tools/check_data.py faces                  train.rec, train.idx, property and every .bin in the folder
    python tools/check_data.py faces --json > faults.json
    python tools/check_data.py faces --write-index    make train.idx anew, for a set that has lost it

It looks for damaged and lost records, lines of the index that lead nowhere, identity ranges that overlap, leave gaps or
mix labels, labels out of range and classes without images, images that cannot be read or have another size, images that
stand twice (by a hash of their pixels), pairs that are wrong, and images that are in the training set and in a
verification set. Status 1 where there is a fault.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence

from recognition.cli import run
from config.errors import ConfigError, MissingExtra
from recognition.data.record_index import write_indices
from recognition.data.validation.dataset import Checked, check_data
from recognition.data.validation.faults import KINDS


def print_report(folder: Path, checked: Checked, most: int) -> None:
    """Print what was found, the first `most` faults of each kind."""
    for kind, sentences in checked.faults.sentences.items():
        if not sentences:
            continue
        print(f'{KINDS[kind]} ({len(sentences):,}):')
        for sentence in sentences[:most]:
            print(f'  {sentence}')
        if len(sentences) > most:
            print(f'  and {len(sentences) - most:,} more; --limit shows more of them, --json all')
    pairs = ''.join(f', {count:,} pairs in {name}' for name, count in checked.pairs.items())
    found = f'{len(checked.faults):,} faults' if checked.faults else 'no fault'
    print(f'{folder}: {checked.images:,} images of {checked.identities:,} identities{pairs}: {found}')


def progress(items: Iterable[Any], count: int) -> Iterable[Any]:
    """Return the items behind a progress bar."""
    try:
        from tqdm import tqdm
    except ImportError:
        raise MissingExtra("the progress bar needs tqdm: pip install 'facesymbols[train]'") from None
    return tqdm(items, total=count, unit=' images', leave=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='check_data.py', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('folder', type=Path, help='folder of the data set')
    add('--json', action='store_true', help='print all faults as JSON')
    add(
        '--limit',
        type=int,
        default=10,
        metavar='N',
        help='faults of a kind that are printed (default: %(default)s)',
    )
    add('--workers', type=int, default=2, metavar='N', help='processes that decode (default: %(default)s)')
    add('--write-index', action='store_true', help='write train.idx where it is missing, and check nothing')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Check, print, and return 1 where there is a fault."""
    args = _parser().parse_args(argv)
    for name, least in (('limit', 1), ('workers', 0)):
        if getattr(args, name) < least:
            raise ConfigError(f'--{name} {getattr(args, name)} must be at least {least}')
    if args.write_index:
        for path, count in write_indices(args.folder):
            print(f'{path}: {count:,} records')
        return 0
    checked = check_data(args.folder, workers=args.workers, show=progress)
    if args.json:
        counts = {'images': checked.images, 'identities': checked.identities, 'pairs': checked.pairs}
        print(json.dumps({**counts, 'faults': checked.faults.sentences}, indent=2))
    else:
        print_report(args.folder, checked, args.limit)
    return 1 if checked.faults else 0


if __name__ == '__main__':
    run(main)
