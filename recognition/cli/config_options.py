"""Every key of the config as an option of a command line, and the config that the given options make."""

from __future__ import annotations

import argparse
from types import MappingProxyType
from typing import Any, Container, Mapping, Optional

from config import resolve
from config.keys import KEYS
from config.schema import check_value, parse_value
from recognition.cli.standard_options import without_ignored

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
    aliases: Mapping[str, str] = MappingProxyType({}),
    shown: Optional[Container[str]] = None,
) -> None:
    """Add an option for each key of the config (`--per-batch-size` and so on), grouped as in the schema.

    aliases: key -> a second name of its option, which is shown first. shown: keys that the help lists; None: all.
    """
    groups = {group: parser.add_argument_group(title) for group, title in TITLES.items()}
    for name, key in KEYS.items():
        option = '--' + name.replace('_', '-')
        if (
            name in PRESETS or option in aliases.values()
        ):  # another key's, that InsightFace's has to give way to
            continue
        names = [aliases[name], option] if name in aliases else [option]
        default = ','.join(map(str, key.default)) if isinstance(key.default, tuple) else key.default
        help_text = (f'{key.help} (default: {default})' if str(default) else key.help).replace('%', '%%')
        bare = {'nargs': '?', 'const': 'true'} if key.rule.type_name == 'bool' else {}
        if key.rule.type_name.startswith('regex'):
            bare = {'action': 'append'}
        groups[key.group].add_argument(
            *names,
            dest=name,
            metavar=key.rule.type_name.upper(),
            default=None,
            help=help_text if shown is None or name in shown else argparse.SUPPRESS,
            **bare,  # type: ignore[arg-type]
        )


def config_from(args: argparse.Namespace, **settings: Any) -> Any:
    """Return the config of the presets and keys given on the command line, with `settings` on top.

    Raises ConfigError for an unknown preset or a bad value.
    """
    given = {name: getattr(args, name, None) for name in KEYS if name not in PRESETS}
    values = {
        name: check_value(name, text) if isinstance(text, list) else parse_value(name, text)
        for name, text in given.items()
        if text is not None
    }
    return resolve(args.network, args.dataset, args.loss, **{**without_ignored(values), **settings})
