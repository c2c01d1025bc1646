"""The argument `network` of the tools: a preset's name, with settings on top, or a symbol in a file."""

from __future__ import annotations

import argparse
from typing import Any, Dict, Tuple

from config import ConfigError, resolve
from config.schema import parse_value
from symbols import get_symbol
from symbols.ir.nodes import Shape, check_shape, load_symbol

import mxnet as mx

DEFAULT_SHAPE: Shape = (1, 3, 112, 112)
IMAGE_AXES = 4
PRESET_KEYS = ('network', 'dataset', 'loss')  # names of presets, which set nothing by themselves
SHORT = {'head': 'net_output', 'activation': 'net_act', 'emb_size': 'emb_size'}


def add_network_arguments(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add `network`, --shape, --head, --activation, --emb-size and --set, which `network_from` reads.

    optional: whether `network` may be left out.
    """
    add = parser.add_argument
    add(
        'network',
        nargs='?' if optional else None,
        help='a network preset (r50, d121, ...) or a path to prefix-symbol.json',
    )
    add(
        '--shape',
        action='append',
        default=[],
        metavar='[NAME=]N,C,H,W',
        help='shape of an input, batch first; once per input; NAME is data, or else the first argument, when '
        "it is left out (default: the preset's image size, or 1,3,112,112)",
    )
    add_setting_arguments(parser)


def add_setting_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --head, --activation, --emb-size and --set, which `settings_from` reads."""
    add = parser.add_argument
    add('--head', help='fc1 head of the preset, by long name or letter (default: what the preset says)')
    add('--activation', help='activation of the preset (default: what the preset says)')
    add('--emb-size', help='width of the embedding (default: what the preset says)')
    add(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='any other key of the config, net_multiplier=0.5 say; may be repeated',
    )


def network_from(args: argparse.Namespace) -> Tuple[mx.sym.Symbol, Dict[str, Shape]]:
    """Return the symbol that the arguments name, and the shapes of its inputs by name.

    Raises ConfigError or CheckpointError for a preset, setting, shape or file that does not do.
    """
    given = dict(map(_shape, args.shape))
    settings = settings_from(args)
    default = DEFAULT_SHAPE
    if args.network.endswith('.json'):
        if settings:
            names = ', '.join(sorted(settings))
            raise ConfigError(f'{args.network} is already built, so {names} cannot change; name a preset')
        symbol = load_symbol(args.network)
    else:
        data = given.get('', given.get('data', ()))
        if len(data) == IMAGE_AXES:  # the heads are built for this size
            settings.setdefault('image_shape', (data[2], data[3], data[1]))
        cfg = resolve(args.network, **settings)
        symbol = get_symbol(cfg)
        height, width, channels = cfg.image_shape
        default = (1, channels, height, width)
    arguments = symbol.list_arguments()
    unnamed = 'data' if 'data' in arguments else arguments[0]
    return symbol, {name or unnamed: shape for name, shape in (given or {'': default}).items()}


def _shape(text: str) -> Tuple[str, Shape]:
    name, _, sizes = text.rpartition('=')
    try:
        shape = tuple(int(size) for size in sizes.split(','))
    except ValueError:
        raise ConfigError(
            f'--shape {text!r} is no shape; give whole numbers with commas, 1,3,112,112 say'
        ) from None
    check_shape(name or 'data', shape)
    return name, shape


def settings_from(args: argparse.Namespace) -> Dict[str, Any]:
    """Return the settings on top of a preset, by key of the config; ConfigError for one that is none."""
    texts = {key: getattr(args, option) for option, key in SHORT.items()}
    for item in args.set:
        key, equals, value = item.partition('=')
        if not equals:
            raise ConfigError(f'--set {item!r} needs the form KEY=VALUE, net_multiplier=0.5 say')
        if key in PRESET_KEYS:
            raise ConfigError(f'--set {item} would change nothing: the presets are not chosen by --set')
        texts[key] = value
    return {key: parse_value(key, value) for key, value in texts.items() if value is not None}
