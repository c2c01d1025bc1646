"""Options that several commands share: each has one name, one form and one meaning."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

from config.errors import ConfigError
from config.keys import ACCEPTED
from config.schema import parse_value
from recognition.cli.parser import Parser

logger = logging.getLogger(__name__)

CHANNELS = 3
NO_CHECK = 'load files without comparing them with the sums beside them (.sha256)'
MIRRORS = ('sum', 'concat', 'none')
# Which setting does what a key without effect would do in InsightFace's scripts.
INSTEAD = {
    'batch_size': 'per_batch_size is the images per device and step',
    'triplet_bag_size': 'a bag is the per_batch_size',
    'num_workers': '`facesymbols launch` trains on several machines, data_workers is the processes that decode',
    'memonger': 'recompute does it',
}
PRESET_KEYS = ('network', 'dataset', 'loss')  # names of presets, which set nothing by themselves
ImageShape = Tuple[int, int, int]


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number of at least 1')
    return int(text)


def share(text: str) -> float:
    """Parse a share of a whole, 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a share, from 0 to below 1')
    return value


def gpus(text: str) -> str:
    """Check numbers of devices with commas between them."""
    if text and not all(number.isdecimal() for number in text.split(',')):
        raise argparse.ArgumentTypeError(f'{text!r} is not a list of numbers, such as 0,1')
    return text


def path(text: str) -> Path:
    """Parse the path of a file or folder."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a path")
    return Path(text)


def image_size(text: str) -> Tuple[int, int, Optional[int]]:
    """Parse H,W or H,W,C in pixels as (height, width, channels or None)."""
    sides = [side.strip() for side in text.split(',')]
    if len(sides) not in (2, 3) or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f'{text!r} is not H,W or H,W,C in pixels, such as 112,112')
    height, width, *channels = map(int, sides)
    return height, width, channels[0] if channels else None


def rgb_size(text: str) -> ImageShape:
    """Parse as `image_size` does, for commands that read photographs."""
    height, width, channels = image_size(text)
    if channels not in (None, CHANNELS):
        raise argparse.ArgumentTypeError(
            f'{text!r} has {channels} channels; photographs are read as RGB, 3 channels'
        )
    return height, width, CHANNELS


def add_output(
    parser: Parser, metavar: str, help_text: str, *, kind: Callable[[str], Any] = path, **settings: Any
) -> None:
    """Add -o/--output and --overwrite; `recognition.utils.output_paths.check_outputs` is for them.

    The output is required unless `settings` give a `default`.
    """
    settings.setdefault('required', 'default' not in settings)
    parser.add_argument('-o', '--output', metavar=metavar, help=help_text, type=kind, **settings)
    parser.rename('--out', '--output')
    add_overwrite(parser)


def add_overwrite(parser: Parser) -> None:
    """Add --overwrite, and --force as its old name."""
    parser.add_argument('--overwrite', action='store_true', help='replace files that exist')
    parser.rename('--force', '--overwrite')


def add_output_layer(parser: Parser, help_text: str = '') -> None:
    """Add --output-layer."""
    words = 'layer whose output is taken (default: fc1, or the only output)'
    parser.add_argument('--output-layer', metavar='NAME', help=help_text or words)


def words(text: str) -> str:
    """Parse words of one line."""
    line = ' '.join(text.split())
    if not line or line != line.encode('utf-8', 'ignore').decode():
        raise argparse.ArgumentTypeError(f'{text!r} must be text in UTF-8, and not empty')
    return line


def add_provenance(parser: Parser) -> None:
    """Add --license and --origin, which `provenance_from` reads."""
    for option, what in (
        ('--license', 'license of the weights'),
        ('--origin', 'where the weights come from'),
    ):
        parser.add_argument(
            option, type=words, metavar='TEXT', help=f'{what}, in words (default: as their files record it)'
        )


def provenance_from(args: argparse.Namespace) -> Dict[str, str]:
    """Return the license and the origin of weights that are given."""
    return {name: getattr(args, name) for name in ('license', 'origin') if getattr(args, name)}


def add_model(parser: Parser, help_text: str = '', metavar: str = 'PREFIX,EPOCH', **settings: Any) -> None:
    """Add --model, required unless `settings` say otherwise."""
    settings.setdefault('required', True)
    words = help_text or 'checkpoint: PREFIX-symbol.json and the .params file of that epoch'
    parser.add_argument('--model', metavar=metavar, help=words, **settings)
    add_no_check(parser)


def add_no_check(parser: Parser, help_text: str = NO_CHECK) -> None:
    """Add --no-check, which the parser itself obeys."""
    parser.add_argument('--no-check', action='store_true', help=help_text)


def add_image_size(parser: Parser, help_text: str, **settings: Any) -> None:
    """Add --image-size, which is (height, width, channels or None) once it is parsed."""
    settings.setdefault('type', image_size)
    parser.add_argument('--image-size', metavar='H,W[,C]', help=help_text, **settings)


def add_mirror(parser: Parser) -> None:
    """Add --mirror, and --flip as its old name."""
    parser.add_argument(
        '--mirror',
        choices=MIRRORS,
        default='sum',
        help="the mirror image's embedding is added (sum), appended (concat) or left out (none) "
        '(default: %(default)s)',
    )
    parser.rename('--flip', '--mirror')


def add_batch_size(parser: Parser, default: int = 64) -> None:
    """Add --batch-size."""
    parser.add_argument(
        '--batch-size',
        type=positive,
        default=default,
        metavar='N',
        help='images at a time (default: %(default)s)',
    )


def add_gpus(parser: Parser) -> None:
    """Add --gpus."""
    parser.add_argument(
        '--gpus', type=gpus, default='', metavar='LIST', help='numbers of the GPUs, as 0,1 (default: the CPU)'
    )


def add_json(parser: Parser, help_text: str) -> None:
    """Add --json."""
    parser.add_argument('--json', action='store_true', help=help_text)


def add_config(parser: Parser, example: str) -> None:
    """Add --config KEY=VALUE, which `config_settings` reads, and --set as its old name."""
    parser.add_argument(
        '--config',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help=f'a key of the config, as {example}; may be repeated',
    )
    parser.rename('--set', '--config')


def config_settings(items: Sequence[str], *, kept: Sequence[str] = PRESET_KEYS) -> Dict[str, Any]:
    """Return what --config sets, by key; ConfigError for a bad one and for keys in `kept`, which others choose."""
    settings = {}
    for item in items:
        key, equals, value = item.partition('=')
        if not equals:
            raise ConfigError(f'--config {item!r} must have the form KEY=VALUE, as net_multiplier=0.5')
        if key in kept:
            raise ConfigError(f'--config {item}: {key} is not set by --config here; --help lists the options')
        settings[key] = parse_value(key, value)
    return without_ignored(settings)


def without_ignored(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the settings that a user gave but those without effect, of which a line says so, and what has one.

    Left in, one of them would make the settings those of an InsightFace config, of which others are not read.
    """
    ignored = [f'{key} ({INSTEAD[key]})' if key in INSTEAD else key for key in settings if key in ACCEPTED]
    if ignored:
        logger.warning(
            "warning: %s %s no effect here: taken so that InsightFace's settings pass",
            ', '.join(ignored),
            'has' if len(ignored) == 1 else 'have',
        )
    return {key: value for key, value in settings.items() if key not in ACCEPTED}
