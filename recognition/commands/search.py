"""Search saved embeddings for the faces that are most like those in the given images, by cosine."""

from __future__ import annotations

import json
from typing import Optional, Sequence

import numpy as np

from recognition.cli.embed_options import add_embed_options, load_embedder
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_json
from recognition.data.image_sources import find_files
from recognition.embedding.gallery import Gallery, check_top


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('search', __doc__, 'who.jpg --gallery photos.npz --model runs/demo/model,30')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='a face to look for, or a folder of them')
    parser.add_argument('--gallery', required=True, metavar='FILE', help='what `facesymbols embed` saved')
    add_embed_options(parser, mirror=False)  # that is the gallery's
    parser.add_argument(
        '--top', type=int, default=5, metavar='N', help='neighbours to show (default: %(default)s)'
    )
    add_json(parser, 'print a JSON object for each image')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Embed the images, search, print."""
    args = build_parser().parse_args(argv)

    check_top(args.top)
    files = find_files(args.images)
    gallery = Gallery(args.gallery)
    with load_embedder(args, mirror=gallery.mirror) as embedder:
        gallery.check_network(embedder.network, args.model, embedder.pixels)
        found = list(embedder.stream(files))
    if gallery.provenance and not args.json:
        print(f'weights of the network: {"; ".join(map(": ".join, gallery.provenance.items()))}')
    neighbours = gallery.search(np.stack([row for _, row in found]), args.top)
    for (name, _), nearest in zip(found, neighbours):
        if args.json:
            print(json.dumps({'image': name, 'neighbours': [each._asdict() for each in nearest]}))
            continue
        print(name)
        for place, each in enumerate(nearest, 1):
            print(f'{place:4}  cosine {each.cosine:7.4f}  {each.name}')
    return 0
