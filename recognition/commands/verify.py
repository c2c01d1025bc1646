"""Verify checkpoints on pairs of faces: accuracy over ten folds, TAR at FAR and, on request, ROC curves."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Sequence, Tuple

from recognition.cli import run
from recognition.cli.config_options import parse_size
from recognition.utils.run_paths import parse_checkpoint

if TYPE_CHECKING:
    from recognition.verification.lfw import Verification

EXAMPLE = (
    'example: python tools/verify.py --model runs/demo/model,30 --set datasets/orl/orl.bin --roc roc.png'
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='verify.py', description=__doc__, epilog=EXAMPLE)
    add = parser.add_argument
    add(
        '--model',
        required=True,
        action='append',
        metavar='PREFIX,EPOCH',
        help='checkpoint: PREFIX-symbol.json and the .params of that epoch; may be repeated',
    )
    add(
        '--set', required=True, action='append', metavar='PAIRS.bin', help='verification set; may be repeated'
    )
    add(
        '--image-size',
        metavar='HEIGHT,WIDTH',
        help='resize every image to this, in pixels (default: all must be as large as the first)',
    )
    add('--folds', type=int, default=10, help='folds of the cross-validation (default: 10)')
    add('--batch-size', type=int, default=64, help='images at a time (default: 64)')
    add('--gpus', default='', metavar='ID', help='number of the GPU to use (default: the CPU)')
    add(
        '--flip',
        default='sum',
        help='what becomes of the embedding of the mirror image: sum, concat, none (default: sum)',
    )
    add('--roc', metavar='FILE.png', help='draw the ROC curves to this file')
    add(
        '--json',
        action='store_true',
        help='print a JSON object for each model and set in place of the tables',
    )
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Verify each model on each set, print, draw."""
    args = build_parser().parse_args(argv)
    models = [parse_checkpoint('--model', model) for model in args.model]
    size = None if args.image_size is None else parse_size('--image-size', args.image_size)

    from recognition.checkpoint.network import load_network
    from recognition.reports.plots import check_picture_path, roc_picture
    from recognition.verification.lfw import check_flip, embed, load_bin, verify
    from symbols.context import select_context

    check_flip(args.flip)
    if args.roc:
        check_picture_path(args.roc)
    ctx = select_context(args.gpus)[0]
    curves = {}
    for pairs in args.set:
        images, issame = load_bin(pairs, size, resize=size is not None)
        for model, (prefix, epoch) in zip(args.model, models):
            net = load_network(prefix, epoch, ctx, image_shape=(*images.shape[2:], 3))
            embeddings = embed(net, images, ctx, args.batch_size, flip=args.flip)
            verification = verify(embeddings, issame, args.folds)
            if args.json:
                print(json.dumps({**verification.as_dict(), 'model': model, 'set': pairs}))
            else:
                print_table(pairs if len(models) == 1 else f'{pairs}, {model}', verification)
            parts = [Path(pairs).stem, *([model] if len(models) > 1 else [])]
            curves[' '.join(parts)] = verification
    if args.roc:
        roc_picture(args.roc, curves)
        if not args.json:
            print(f'ROC curve in {args.roc}')
    return 0


def print_table(title: str, verification: Verification) -> None:
    """Print the figures, a line each, with their 95 % intervals."""
    print(f'{title}: {verification.pairs:,} pairs, {verification.folds} folds')
    print(
        f'accuracy   {100 * verification.accuracy:.2f} % +- {100 * verification.accuracy_std:.2f} % over the folds'
        f'{_interval(verification.interval)}'
    )
    print(f'threshold  {verification.threshold:.3f} (squared L2 distance, 0..4)')
    print(f'EER        {100 * verification.eer:.2f} %')
    print(f'AUC        {verification.auc:.4f}')
    for far, tar in verification.tar_at_far.items():
        print(f'TAR at FAR {far:<6g} {100 * tar:6.2f} %{_interval(verification.tar_intervals[far])}')


def _interval(ends: Tuple[float, float]) -> str:
    return f', 95 % interval {100 * ends[0]:.2f} to {100 * ends[1]:.2f} %'


if __name__ == '__main__':
    run(main)
