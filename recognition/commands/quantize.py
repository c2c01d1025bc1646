"""Make an ONNX file of INT8 from one of float32, and tell what that costs on pairs of faces."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Sequence

from recognition.cli import run
from config.errors import ConfigError
from recognition.cli.output_options import add_output_options, check_outputs

if TYPE_CHECKING:
    from recognition.quantize import Outcome

EXAMPLE = (
    'example: python tools/quantize_onnx.py --model r50.onnx --faces faces --set lfw.bin --output int8.onnx'
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='quantize_onnx.py', description=__doc__, epilog=EXAMPLE)
    add = parser.add_argument
    add(
        '--model',
        required=True,
        metavar='NET.onnx',
        help='as tools/export_onnx.py wrote it, best with --fold',
    )
    add_output_options(parser, 'FILE', 'file to write')
    add(
        '--faces',
        required=True,
        metavar='FOLDER',
        help='images, or a data set with train.rec, to choose the scales by; none of them people of --set',
    )
    add('--count', type=int, default=256, help='faces to take of these, evenly (default: %(default)s)')
    add('--set', required=True, metavar='PAIRS.bin', help='verification set to compare both networks on')
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
    output = Path(args.output)
    if args.count < 1:
        raise ConfigError(f'--count {args.count} must be at least 1')
    check_outputs([output], overwrite=args.overwrite, sources=[args.model])
    from recognition.export.onnx.metadata import read_metadata
    from recognition.quantize import quantize, read_faces
    from recognition.verification.lfw import load_bin

    height, width, _ = read_metadata(args.model)['image_shape']
    faces = read_faces(args.faces, (height, width), args.count)
    images, issame = load_bin(args.set, (height, width), resize=True)
    outcome = quantize(
        args.model, output, faces, images.transpose(0, 2, 3, 1), issame, most_lost=args.most_lost
    )
    print(f'written    {output}, {output.stat().st_size:,} bytes of {Path(args.model).stat().st_size:,}')
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


if __name__ == '__main__':
    run(main)
