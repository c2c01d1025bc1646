"""Embed the images in folders and save the embeddings with the images' names.

The suffix of the output is the format: .npz, .npy (names in a .txt beside it), .parquet, .safetensors. Images that
cannot be read are listed, the others are embedded, and the exit status is 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Sequence, Tuple

import numpy as np

from config.errors import DataError
from recognition.cli.embed_options import add_embed_options, load_embedder
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_output
from recognition.data.image_sources import find_files
from recognition.embedding.storage import Embedded, check_output, save_embeddings
from recognition.utils.files import readable
from recognition.utils.progress_bar import progress_bar

if TYPE_CHECKING:
    from recognition.embed import Embedder


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('embed', __doc__, 'photos --model runs/demo/model,30 -o photos.npz')
    parser.add_argument(
        'images', nargs='+', metavar='FOLDER', help='searched with those below it; or an image'
    )
    add_output(parser, 'FILE', 'where to save the embeddings')
    add_embed_options(parser)
    parser.add_argument(
        '--no-normalise', '--no-normalize', action='store_true', help='keep the length of the embeddings'
    )
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Embed, save, and list what could not be read."""
    args = build_parser().parse_args(argv)
    check_output(args.output, overwrite=args.overwrite)
    files = find_files(args.images)
    embedder = load_embedder(args, normalise=not args.no_normalise)
    faults: List[str] = []
    names, rows = embed_files(embedder, files, faults)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not rows:
        raise DataError('no image can be read')
    about = {
        'network': embedder.network,
        **({'pixels': embedder.pixels} if embedder.pixels else {}),
        'model': readable(args.model),
        'engine': embedder.engine,
        'precision': embedder.precision,
        'mirror': args.mirror,
        'normalised': str(not args.no_normalise).lower(),
        **embedder.provenance,
    }
    save_embeddings(args.output, Embedded(names, np.stack(rows), about), overwrite=args.overwrite)
    print(
        f'{len(rows):,} embeddings of {len(rows[0])} values by {embedder.engine} in {readable(args.output)}'
    )
    if faults:
        print(f'{len(faults):,} of {len(files):,} images cannot be read', file=sys.stderr)
    return 1 if faults else 0


def embed_files(
    embedder: Embedder, files: Sequence[Path], faults: List[str]
) -> Tuple[List[str], List[np.ndarray]]:
    """Return names and embeddings of the files that can be read, with a bar on a terminal; note the others."""
    names, rows = [], []
    with embedder, progress_bar(total=len(files), unit='images') as bar:

        def note(_name: str, error: DataError) -> None:
            faults.append(str(error))
            bar.update()

        for name, row in embedder.stream(files, note):
            names.append(name)
            rows.append(row)
            bar.update()
    return names, rows
