"""Rewrite a checkpoint for inference: batch norms folded, PReLU in the form its slopes allow; checked, then written."""

from __future__ import annotations

import argparse
from typing import Optional, Sequence

from recognition.cli import run
from recognition.options import parse_checkpoint, parse_size

EXAMPLE = 'example: python tools/optimize_net.py --model runs/r50/model,10 --output runs/r50/fast'
CHANNELS = 3


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='optimize_net.py', description=__doc__, epilog=EXAMPLE)
    add = parser.add_argument
    add(
        '--model',
        required=True,
        metavar='PREFIX,EPOCH',
        help='checkpoint: PREFIX-symbol.json and the .params of that epoch',
    )
    add('--output', required=True, metavar='PREFIX', help='of the checkpoint to write, of the same epoch')
    add(
        '--portable',
        action='store_true',
        help='leave PReLU one operator, as other programs want it (default: a form that MXNet runs faster)',
    )
    add(
        '--image-size',
        default='112,112',
        metavar='HEIGHT,WIDTH',
        help='of the images in pixels (default: 112,112)',
    )
    add(
        '--faces', metavar='FOLDER', help='photographs to compare on, beside random pixels (default: our own)'
    )
    add('--overwrite', action='store_true', help='replace files of that name')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Rewrite, check, write, print."""
    args = build_parser().parse_args(argv)
    prefix, epoch = parse_checkpoint('--model', args.model)
    height, width = parse_size('--image-size', args.image_size)

    from recognition.checkpoint import params_path, symbol_path
    from recognition.convert import check_vacant
    from recognition.inference import export_optimized

    if not args.overwrite:
        check_vacant(args.output, epoch)
    done = export_optimized(
        prefix,
        epoch,
        args.output,
        for_mxnet=not args.portable,
        image_shape=(height, width, CHANNELS),
        faces=args.faces,
    )
    print(f'written     {symbol_path(args.output)}, {params_path(args.output, epoch)}')
    print(f'operators   {done.after:,}, where there were {done.before:,}')
    print(*done.check.lines(), sep='\n')
    return None


if __name__ == '__main__':
    run(main)
