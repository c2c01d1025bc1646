"""Verify a checkpoint on pairs of faces: accuracy over ten folds, TAR at FAR and, on request, a ROC curve."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Sequence, Tuple

from recognition.cli import run
from config.errors import ConfigError
from recognition.options import parse_checkpoint

if TYPE_CHECKING:
    from recognition.verification import Verification

EXAMPLE = (
    'example: python tools/verify.py --model runs/demo/model,40 --set datasets/orl/orl.bin --roc roc.png'
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='verify.py', description=__doc__, epilog=EXAMPLE)
    parser.add_argument(
        '--model',
        required=True,
        metavar='PREFIX,EPOCH',
        help='checkpoint: PREFIX-symbol.json and PREFIX-%%04d.params of that epoch',
    )
    parser.add_argument('--set', required=True, metavar='PAIRS.bin', help='verification set (.bin)')
    parser.add_argument(
        '--image-size',
        metavar='HEIGHT,WIDTH',
        help='resize every image to this, in pixels (default: all must be as large as the first)',
    )
    parser.add_argument('--folds', type=int, default=10, help='folds of the cross-validation (default: 10)')
    parser.add_argument('--batch-size', type=int, default=64, help='images at a time (default: 64)')
    parser.add_argument(
        '--gpus', default='', metavar='ID', help='number of the GPU to use (default: the CPU)'
    )
    parser.add_argument('--no-flip', action='store_true', help='leave out the mirror images')
    parser.add_argument('--roc', metavar='FILE.png', help='draw the ROC curve to this file')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead of the table')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Verify, print, draw."""
    args = build_parser().parse_args(argv)
    prefix, epoch = parse_checkpoint('--model', args.model)
    size = None if args.image_size is None else parse_size(args.image_size)

    from recognition.checkpoint import load_network
    from recognition.curves import check_picture_path, roc_picture
    from recognition.verification import embed, load_bin, verify
    from symbols.context import select_context

    if args.roc:
        check_picture_path(args.roc)
    ctx = select_context(args.gpus)[0]
    images, issame = load_bin(args.set, size, resize=size is not None)
    net = load_network(prefix, epoch, ctx, image_shape=(*images.shape[2:], 3))
    embeddings = embed(net, images, ctx, args.batch_size, flip=not args.no_flip)
    verification = verify(embeddings, issame, args.folds)
    if args.json:
        print(json.dumps({**verification.as_dict(), 'model': args.model, 'set': args.set}))
    else:
        print_table(args.set, verification)
    if args.roc:
        roc_picture(args.roc, {Path(args.set).stem: verification})
        if not args.json:
            print(f'ROC curve in {args.roc}')
    return 0


def print_table(pairs: str, verification: Verification) -> None:
    """Print the figures, a line each."""
    print(f'{pairs}: {verification.pairs:,} pairs, {verification.folds} folds')
    print(f'accuracy   {100 * verification.accuracy:.2f} % +- {100 * verification.accuracy_std:.2f} %')
    print(f'threshold  {verification.threshold:.3f} (squared L2 distance, 0..4)')
    print(f'EER        {100 * verification.eer:.2f} %')
    print(f'AUC        {verification.auc:.4f}')
    for far, tar in verification.tar_at_far.items():
        print(f'TAR at FAR {far:<6g} {100 * tar:6.2f} %')


def parse_size(text: str) -> Tuple[int, int]:
    """Split 'height,width' (pixels); ConfigError when it is something else."""
    sides = [side.strip() for side in text.split(',')]
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError(f'--image-size {text!r} is not HEIGHT,WIDTH in pixels, such as 112,112')
    return int(sides[0]), int(sides[1])


if __name__ == '__main__':
    run(main)
