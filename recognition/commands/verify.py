"""Verify networks on pairs of faces: accuracy over ten folds, TAR at FAR and, on request, ROC curves."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Optional, Sequence, Tuple

from recognition.cli.embed_options import MODELS
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_image_size, add_json, add_model, add_overwrite, positive
from recognition.cli.verify_options import add_verify_options, check_model, open_network
from recognition.engines.model import find_model
from recognition.utils.output_paths import check_outputs, check_suffix
from recognition.verification import Verification, load_bin, verify


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser(
        'verify', __doc__, '--model runs/demo/model,30 --pairs faces/lfw.bin --roc roc.png'
    )
    add = parser.add_argument
    add_model(parser, f'{MODELS}; may be repeated', 'MODEL', action='append')
    add('--pairs', required=True, action='append', metavar='FILE.bin', help='pair set; may be repeated')
    parser.rename('--set', '--pairs')
    add_image_size(
        parser, 'resize every image to this, in pixels (default: all must be as large as the first)'
    )
    add(
        '--folds',
        type=positive,
        default=10,
        metavar='N',
        help='of the cross-validation (default: %(default)s)',
    )
    add_verify_options(parser)
    add('--roc', metavar='FILE.png', help='draw the ROC curves to this file')
    add_overwrite(parser)
    add_json(parser, 'print a JSON object for each network and pair set in place of the tables')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Verify each network on each pair set, print, draw."""
    args = build_parser().parse_args(argv)
    models = [find_model(text) for text in args.model]
    for model in models:
        check_model(model)
    if args.roc:
        check_suffix(args.roc, ['png'])
        read = [*args.pairs, *(file for model in models for file in model.files)]
        check_outputs([args.roc], overwrite=args.overwrite, sources=read, option='--roc')
    curves = {}
    for pairs in args.pairs:
        images, issame = load_bin(pairs, args.image_size, resize=args.image_size is not None)
        height, width = images.shape[2:]
        channels = args.image_size[2] if args.image_size else None
        for text, model in zip(args.model, models):
            with ExitStack() as stack:
                network = open_network(model, args, (height, width, channels), stack)
                embeddings = network.embed(images)
            verification = verify(embeddings, issame, args.folds)
            if args.json:
                print(json.dumps({**verification.as_dict(), 'model': text, 'set': pairs}))
            else:
                print_table(pairs if len(models) == 1 else f'{pairs}, {text}', verification)
            parts = [Path(pairs).stem, *([text] if len(models) > 1 else [])]
            curves[' '.join(parts)] = verification
    if args.roc:
        from recognition.reports import roc_picture

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
