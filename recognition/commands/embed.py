"""Embed the images in folders and save the embeddings with the images' names.

The ending of --out is the format: .npz, .npy (names in a .txt beside it), .parquet, .safetensors. Images that cannot
be read are listed, the others are embedded, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List, Optional, Sequence

from recognition.cli import run
from config.errors import DataError, MissingExtra
from recognition.cli.embed_options import add_embed_options, load_embedder

EXAMPLE = 'example: python tools/embed.py photos --model runs/demo/model,30 --out photos.npz'


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='embed.py', description=__doc__, epilog=EXAMPLE, allow_abbrev=False)
    parser.add_argument(
        'images', nargs='+', metavar='FOLDER', help='searched with those below it; or an image'
    )
    parser.add_argument('--out', required=True, metavar='FILE', help='where to save the embeddings')
    parser.add_argument('--overwrite', action='store_true', help='replace that file')
    add_embed_options(parser)
    parser.add_argument('--no-normalise', action='store_true', help='keep the length of the embeddings')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Embed, save, and list what could not be read."""
    args = build_parser().parse_args(argv)

    from recognition.data.image_sources import find_files
    from recognition.embedding.storage import Embedded, check_output, save_embeddings
    from recognition.utils.files import readable

    check_output(args.out, overwrite=args.overwrite)
    files = find_files(args.images)
    embedder = load_embedder(args, normalise=not args.no_normalise)
    faults: List[str] = []
    names, rows = embed_files(embedder, files, faults)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not rows:
        raise DataError(f'none of the {len(files):,} images can be read')

    import numpy as np

    about = {
        'network': embedder.network,
        'model': readable(args.model),
        'engine': embedder.engine,
        'precision': embedder.precision,
        'mirror': args.mirror,
        'normalised': str(not args.no_normalise).lower(),
    }
    save_embeddings(args.out, Embedded(names, np.stack(rows), about), overwrite=args.overwrite)
    print(f'{len(rows):,} embeddings of {len(rows[0])} values by {embedder.engine} in {readable(args.out)}')
    if faults:
        print(f'{len(faults):,} of {len(files):,} images cannot be read', file=sys.stderr)
    return 1 if faults else 0


def embed_files(embedder, files: Sequence[Path], faults: List[str]):
    """Return names and embeddings of the files that can be read, with a bar on a terminal; note the others."""
    try:
        from tqdm import tqdm
    except ImportError:
        raise MissingExtra("the progress bar needs tqdm: pip install 'facesymbols[train]'") from None

    names, rows = [], []
    with embedder, tqdm(total=len(files), unit='image', disable=None) as bar:

        def note(_name: str, error: DataError) -> None:
            faults.append(str(error))
            bar.update()

        for name, row in embedder.stream(files, note):
            names.append(name)
            rows.append(row)
            bar.update()
    return names, rows


if __name__ == '__main__':
    run(main)
