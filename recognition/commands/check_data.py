"""Check a training set and the test and pair sets beside it, and name every fault in one pass.

    facesymbols check-data faces                  train.rec, train.idx, property; test.rec, classes.txt, every .bin
    facesymbols check-data faces --json > faults.json
    facesymbols check-data faces --write-index    make train.idx anew, for a set that has lost it

It looks for damaged and lost records, lines of the index that lead nowhere, identity ranges that overlap, leave gaps or
mix labels, labels out of range and classes without images, images that cannot be read or have another size, duplicate
images (by a hash of their pixels), pairs that are wrong, and images that are trained on and tested on.
Status 1 where there is a fault.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Optional, Sequence

from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_json, positive
from recognition.data.record_index import write_indices
from recognition.data.validation import Checked, check_data
from recognition.data.validation.report import KINDS
from recognition.utils.progress_bar import progress_bar


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('check-data', __doc__)
    add = parser.add_argument
    add('folder', type=Path, help='folder of the data set')
    add_json(parser, 'print all faults as JSON')
    add(
        '--limit',
        type=positive,
        default=10,
        metavar='N',
        help='faults of a kind that are printed (default: %(default)s)',
    )
    add('--data-workers', type=workers, default=2, metavar='N', help='processes that decode (default: 2)')
    parser.rename('--workers', '--data-workers')
    add('--write-index', action='store_true', help='write train.idx where it is missing, and check nothing')
    return parser


def workers(text: str) -> int:
    """Parse a number of processes; 0 decodes in this one."""
    return 0 if text == '0' else positive(text)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Check, print, and return 1 where there is a fault."""
    args = build_parser().parse_args(argv)
    if args.write_index:
        for path, count in write_indices(args.folder):
            print(f'{path}: {count:,} records')
        return 0
    checked = check_data(args.folder, workers=args.data_workers, show=partial(progress_bar, unit='images'))
    if args.json:
        counts = {
            'images': checked.images,
            'identities': checked.identities,
            'test': checked.test,
            'pairs': checked.pairs,
        }
        print(json.dumps({**counts, 'faults': checked.faults.sentences}, indent=2))
    else:
        print_report(args.folder, checked, args.limit)
    return 1 if checked.faults else 0


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
    pairs = f', {checked.test:,} to test{pairs}' if checked.test else pairs
    found = f'{len(checked.faults):,} faults' if checked.faults else 'no fault'
    print(f'{folder}: {checked.images:,} images of {checked.identities:,} identities{pairs}: {found}')
