"""Every key of the config as an option of a command line, and the config that the given options make."""

from __future__ import annotations

import argparse
from typing import Any, Dict, Optional, Sequence, Tuple

from config import resolve
from config.errors import ConfigError, nearest
from config.keys import KEYS
from config.schema import parse_value

PRESETS = ('network', 'dataset', 'loss')  # options of their own: each names a row of a table
TITLES = {
    'network': 'the network',
    'data': 'the data',
    'loss': 'the loss',
    'train': 'the training',
    'accepted': "taken so that InsightFace's settings pass, and without effect here",
}


def add_config_options(
    parser: argparse.ArgumentParser,
    *,
    aliases: Optional[Dict[str, str]] = None,
    leave_out: Sequence[str] = (),
) -> None:
    """Add an option for each key of the config (`--per-batch-size` and so on), grouped as in the schema.

    aliases: key -> a second name of its option; leave_out: keys that get no option.
    """
    groups = {group: parser.add_argument_group(title) for group, title in TITLES.items()}
    for name, key in KEYS.items():
        if name in PRESETS or name in leave_out:
            continue
        names = ['--' + name.replace('_', '-')]
        if aliases and name in aliases:
            names.append(aliases[name])
        shown = ','.join(map(str, key.default)) if isinstance(key.default, tuple) else key.default
        bare = {'nargs': '?', 'const': 'true'} if key.rule.type_name == 'bool' else {}
        groups[key.group].add_argument(
            *names,
            dest=name,
            metavar=key.rule.type_name.upper(),
            default=None,
            help=f'{key.help} (default: {shown})'.replace('%', '%%'),
            **bare,  # type: ignore[arg-type]
        )


def parse_known(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; ConfigError, with the nearest option, for a word that the parser does not know.

    argparse would print the usage instead, which is pages long where every key of the config is an option.
    """
    args, unknown = parser.parse_known_args(argv)
    if not unknown:
        return args
    word = next((word for word in unknown if word.startswith('-')), unknown[0]).partition('=')[0]
    options = [option for action in parser._actions for option in action.option_strings]
    raise ConfigError(f'{word!r} is not an option{nearest(word, options)}; --help lists all')


def parse_size(option: str, text: str) -> Tuple[int, int]:
    """Split 'height,width' (pixels), the value of `option`; ConfigError when it is something else."""
    sides = [side.strip() for side in text.split(',')]
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError(f'{option} {text!r} is not HEIGHT,WIDTH in pixels, such as 112,112')
    return int(sides[0]), int(sides[1])


def config_from(args: argparse.Namespace, **settings: Any) -> Any:
    """Return the config of the presets and keys given on the command line, with `settings` on top.

    Raises ConfigError for an unknown preset or a bad value.
    """
    given = {name: getattr(args, name, None) for name in KEYS if name not in PRESETS}
    values = {name: parse_value(name, text) for name, text in given.items() if text is not None}
    return resolve(args.network, args.dataset, args.loss, **{**values, **settings})
