"""Compare faces: cosine and squared L2 distance of the embeddings of each pair of images."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from config.errors import ConfigError
from recognition.cli.embed_options import add_embed_options, load_embedder
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_json
from recognition.data.image_sources import find_files


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('compare', __doc__, 'a.jpg b.jpg --model runs/demo/model,30 --threshold 1.2')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='two or more, or a folder of them')
    add_embed_options(parser)
    parser.add_argument(
        '--threshold',
        type=float,
        metavar='DISTANCE',
        help='squared L2 distance, 0..4, below which two images are the same person, as `facesymbols verify` prints it',
    )
    add_json(parser, 'print a JSON object for each pair')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Embed the images and print each pair."""
    args = build_parser().parse_args(argv)
    if args.threshold is not None and not 0 <= args.threshold <= 4:
        raise ConfigError(f'--threshold {args.threshold:g} must be a squared distance of unit vectors, 0..4')
    files = find_files(args.images)
    if len(files) < 2:
        raise ConfigError(f'{files[0]} alone cannot be compared; give two images or more')
    with load_embedder(args) as embedder:
        found = list(embedder.stream(files))
    for pair in compare(found, args.threshold):
        print(json.dumps(pair) if args.json else line(pair))
    return 0


def compare(found: Sequence[Any], threshold: Optional[float]) -> List[Dict[str, Any]]:
    """Return what there is to say of each pair of (name, embedding of length 1)."""
    pairs = []
    for (first, one), (second, other) in combinations(found, 2):
        cosine = float(np.clip(np.dot(one.astype(np.float64), other.astype(np.float64)), -1, 1))
        distance = float(np.sum(np.square(one.astype(np.float64) - other)))
        pair: Dict[str, Any] = {'images': [first, second], 'cosine': cosine, 'distance': distance}
        if threshold is not None:
            pair['same'] = distance < threshold
        pairs.append(pair)
    return pairs


def line(pair: Dict[str, Any]) -> str:
    """Return a pair as a line of text."""
    verdict = {True: '  same person', False: '  different people', None: ''}[pair.get('same')]
    first, second = pair['images']
    return (
        f'cosine {pair["cosine"]:7.4f}  squared distance {pair["distance"]:.4f}{verdict}  {first}  {second}'
    )
