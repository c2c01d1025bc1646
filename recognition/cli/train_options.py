"""The options of `train`: those that matter in its help, and every key of the config besides."""

from __future__ import annotations

import argparse
from typing import Sequence

from config import default
from recognition.cli.config_options import add_config_options
from recognition.cli.parser import COMMAND, Parser
from recognition.cli.standard_options import (
    NO_CHECK,
    add_gpus,
    add_image_size,
    add_no_check,
    add_overwrite,
    image_size,
    positive,
)

ALL = '--help-all'
SHOWN = (
    'dataset_path',
    'val_targets',
    'emb_size',
    'per_batch_size',
    'lr',
    'end_epoch',
    'pretrained',
    'recompute',
)
ALIASES = {
    'net_output': '--head',
    'net_act': '--activation',
    'per_batch_size': '--batch-size',
    'verbose': '--verify-every',
}
DESCRIPTION = f"""Train a network on a folder of images: train.rec, train.idx, property.

    {COMMAND} train --network r50 --dataset-path faces --loss arcface --prefix runs/r50/model
    {COMMAND} train --network r50 --dataset-path faces --loss arcface --prefix runs/r50/model --resume
    {COMMAND} train --network d2l_densenet --loss classes --dataset images --dataset-path digits -o runs/digits/model

Every key of the config is an option, too; {ALL} lists them. An option takes precedence over the presets.
"""


def build_parser(argv: Sequence[str] = ()) -> Parser:
    """Return the parser; where `argv` asks for it, one whose help lists every option."""
    everything = ALL in argv
    parser = Parser(prog=f'{COMMAND} train', description=DESCRIPTION)
    add = parser.add_argument
    add('--network', metavar='NAME', default=default.network, help='network preset (default: %(default)s)')
    add('--dataset', metavar='NAME', default='folder', help='data set preset (default: %(default)s)')
    add('--loss', metavar='NAME', default='arcface', help='loss preset (default: %(default)s)')
    add(
        '-o',
        '--output',
        '--prefix',
        dest='prefix',
        metavar='PREFIX',
        help='of the checkpoints (default: MODELS_ROOT/network-loss-dataset/model)',
    )
    add('--resume', action='store_true', help='resume from the newest training state of the prefix')
    add_overwrite(parser)
    add_gpus(parser)
    further = dict.fromkeys(('ckpt_every', 'no_verify', 'no_check', 'image_size'), argparse.SUPPRESS)
    if everything:
        further = {
            'ckpt_every': 'epochs between checkpoints (default: 1)',
            'no_verify': 'do not verify on val_targets',
            'no_check': NO_CHECK,
            'image_size': 'the short form of --image-shape',
        }
    add('--ckpt-every', type=positive, default=1, metavar='N', help=further['ckpt_every'])
    add('--no-verify', action='store_true', help=further['no_verify'])
    add_no_check(parser, further['no_check'])
    add_image_size(parser, further['image_size'], type=image_size)
    add_config_options(parser, aliases=ALIASES, shown=None if everything else SHOWN)
    add(ALL, action='help', help='list every option')
    return parser
