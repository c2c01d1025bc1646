"""The options of the tools that write a checkpoint's network in another form: which one, and what to compare on."""

from __future__ import annotations

import argparse
from typing import NamedTuple, Optional, Tuple

from recognition.cli.config_options import parse_size
from recognition.utils.run_paths import parse_checkpoint

CHANNELS = 3


class Source(NamedTuple):
    """A checkpoint, the (H, W, C) of the images that it takes, and a folder of faces to compare on, if one is given."""

    prefix: str
    epoch: int
    image_shape: Tuple[int, int, int]
    faces: Optional[str]


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add --model, --image-size and --faces, which `source_from` reads."""
    add = parser.add_argument
    add(
        '--model',
        required=True,
        metavar='PREFIX,EPOCH',
        help='checkpoint: PREFIX-symbol.json and the .params of that epoch',
    )
    add(
        '--image-size',
        default='112,112',
        metavar='HEIGHT,WIDTH',
        help='of the images in pixels (default: %(default)s)',
    )
    add(
        '--faces', metavar='FOLDER', help='photographs to compare on, beside random pixels (default: our own)'
    )


def source_from(args: argparse.Namespace) -> Source:
    """Return what the options name; CheckpointError or ConfigError for words that name nothing."""
    prefix, epoch = parse_checkpoint('--model', args.model)
    height, width = parse_size('--image-size', args.image_size)
    return Source(prefix, epoch, (height, width, CHANNELS), args.faces)
