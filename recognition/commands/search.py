"""Search saved embeddings for the faces that are most like those in the given images, by cosine."""

from __future__ import annotations

import argparse
import json
from typing import Optional, Sequence

from recognition.cli import run
from recognition.cli.embed_options import add_embed_options, load_embedder

EXAMPLE = 'example: python tools/search_gallery.py who.jpg --gallery photos.npz --model runs/demo/model,30'


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='search_gallery.py', description=__doc__, epilog=EXAMPLE, allow_abbrev=False
    )
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='a face to look for, or a folder of them')
    parser.add_argument('--gallery', required=True, metavar='FILE', help='what tools/embed.py saved')
    add_embed_options(parser, mirror=False)  # that is the gallery's
    parser.add_argument('--top', type=int, default=5, help='neighbours to show (default: %(default)s)')
    parser.add_argument('--json', action='store_true', help='print a JSON object for each image')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Embed the images, search, print."""
    args = build_parser().parse_args(argv)

    import numpy as np

    from recognition.data.image_sources import find_files
    from recognition.embedding.gallery import Gallery, check_top

    check_top(args.top)
    files = find_files(args.images)
    gallery = Gallery(args.gallery)
    with load_embedder(args, mirror=gallery.mirror) as embedder:
        gallery.check_network(embedder.network, args.model)
        found = list(embedder.stream(files))
    neighbours = gallery.search(np.stack([row for _, row in found]), args.top)
    for (name, _), nearest in zip(found, neighbours):
        if args.json:
            print(json.dumps({'image': name, 'neighbours': [each._asdict() for each in nearest]}))
            continue
        print(name)
        for place, each in enumerate(nearest, 1):
            print(f'{place:4}  cosine {each.cosine:7.4f}  {each.name}')
    return 0


if __name__ == '__main__':
    run(main)
