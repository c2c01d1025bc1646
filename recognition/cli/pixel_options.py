"""Options for the preprocessing of pixels that a network's file leaves to its caller."""

from __future__ import annotations

import argparse
from typing import Optional

from config.errors import ConfigError
from recognition.cli.parser import Parser
from recognition.utils.pixels import ORDERS, Numbers, Pixels


def numbers(text: str) -> Numbers:
    """Parse a number or three with commas between them, each of which may be a fraction such as 1/127.5."""
    try:
        found = tuple(_number(each) for each in text.split(','))
    except (ValueError, ZeroDivisionError):
        found = ()
    if len(found) not in (1, 3):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a number, or three with commas, such as 127.5 or 1/128'
        )
    return found[0] if len(found) == 1 else found


def _number(text: str) -> float:
    above, slash, below = text.partition('/')
    return float(above) / float(below) if slash else float(above)


def add_pixel_options(parser: Parser) -> None:
    """Add --input-mean, --input-scale and --channels, which `given_pixels` reads."""
    add = parser.add_argument
    add(
        '--input-mean',
        type=numbers,
        metavar='NUMBER[,..]',
        help="mean that a file's caller subtracts from pixels in 0..255 (default: as the file records, else by "
        "InsightFace's rule)",
    )
    add(
        '--input-scale',
        type=numbers,
        metavar='NUMBER[,..]',
        help='factor that pixels are multiplied by after that, such as 1/127.5',
    )
    add(
        '--channels',
        choices=ORDERS,
        help='order of the channels that the file takes, and of three means and scales (default: rgb)',
    )


def given_pixels(args: argparse.Namespace) -> Optional[Pixels]:
    """Return what the options say, None without them; ConfigError where they leave the mean or the scale open."""
    mean, scale, order = args.input_mean, args.input_scale, args.channels
    if mean is None and scale is None and order is None:
        return None
    if mean is None or scale is None:
        raise ConfigError(
            '--input-mean, --input-scale and --channels go together: give a mean and a scale (0 and 1 where the file '
            'takes pixels in 0..255)'
        )
    return Pixels(mean, scale, order or ORDERS[0])
