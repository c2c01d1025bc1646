"""Write an ONNX network of float32 in INT8, and print what that costs on pairs of faces."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Sequence

import numpy as np

from config.errors import CheckpointError, DataError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_model, add_output, positive
from recognition.data.image_sources import as_pixels
from recognition.utils.output_paths import check_outputs, check_suffix
from recognition.verification import load_bin

if TYPE_CHECKING:
    from recognition.quantize import Outcome

EXAMPLE = '--model r50.onnx --faces faces --pairs lfw.bin -o int8.onnx'


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('quantize', __doc__, EXAMPLE)
    add = parser.add_argument
    add_model(parser, 'as `facesymbols export` wrote it, best with --fold', 'NET.onnx')
    add_output(parser, 'FILE', 'file to write')
    add(
        '--faces',
        required=True,
        metavar='FOLDER',
        help='images, or a data set with train.rec, to choose the scales by; none of them people of --pairs',
    )
    add(
        '--count',
        type=positive,
        default=256,
        metavar='N',
        help='faces to take of these, evenly (default: %(default)s)',
    )
    add('--pairs', required=True, metavar='FILE.bin', help='pair set to compare both networks on')
    parser.rename('--set', '--pairs')
    add(
        '--most-lost',
        type=float,
        default=0.01,
        metavar='SHARE',
        help='of the accuracy; where more is lost, nothing is written (default: %(default)s)',
    )
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Quantize, compare, print."""
    args = build_parser().parse_args(argv)
    check_suffix(args.output, ['onnx'])
    if not Path(args.model).is_file():
        what = 'is a folder' if Path(args.model).is_dir() else 'does not exist'
        raise CheckpointError(f'{args.model} {what}; `facesymbols export` makes an ONNX file of a checkpoint')
    if not Path(args.pairs).is_file():
        raise DataError(f'{args.pairs} does not exist')
    check_outputs([args.output], overwrite=args.overwrite, sources=[args.model, args.pairs])

    logging.basicConfig(format='%(message)s')  # before a package does so in its own form
    from recognition.export import read_metadata
    from recognition.quantize import quantize, read_faces

    height, width, channels = read_metadata(args.model)['image_shape']
    faces = read_faces(args.faces, (height, width), args.count, channels)
    images, issame = load_bin(args.pairs, (height, width), resize=True)
    pairs = np.stack([as_pixels(image.transpose(1, 2, 0), 'an image', channels) for image in images])
    outcome = quantize(args.model, args.output, faces, pairs, issame, most_lost=args.most_lost)
    written, read = args.output.stat().st_size, Path(args.model).stat().st_size
    print(f'written    {args.output}, {written:,} bytes of {read:,}')
    print_outcome(outcome)
    return None


def print_outcome(outcome: Outcome) -> None:
    """Print the figures of both networks, a line each."""
    for name, each in (('float32', outcome.plain), ('INT8', outcome.quantized)):
        print(
            f'{name:<10} accuracy {100 * each.accuracy:.2f} % +- {100 * each.accuracy_std:.2f} % of {each.pairs:,} '
            f'pairs, EER {100 * each.eer:.2f} %, AUC {each.auc:.4f}'
        )
    print(
        f'distance   {outcome.distance:.2g} in cosine at most between their embeddings; calibrated on '
        f'{outcome.calibrated_on} faces'
    )
