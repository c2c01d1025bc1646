"""Print a script that completes commands and options in a shell; the line below, in its start-up file, loads it.

eval "$(facesymbols completion bash)"          in ~/.bashrc; for zsh in ~/.zshrc
"""

from __future__ import annotations

from argparse import ArgumentParser, _SubParsersAction
from importlib import import_module
from typing import Any, Mapping, Optional, Sequence

from config import dataset, loss, network
from config.presets import ACTIVATIONS, HEADS
from recognition.cli.parser import COMMAND, Parser, command_parser
from recognition.engines import ENGINES
from recognition.utils.packages import require

# What an argument may be, by its name in the parsers.
NAMES: Mapping[str, Sequence[str]] = {
    'network': list(network),
    'loss': list(loss),
    'dataset': list(dataset),
    'head': list(HEADS),
    'net_output': list(HEADS),
    'activation': ACTIVATIONS,
    'net_act': ACTIVATIONS,
    'engine': ('auto', *ENGINES),
}
SHELLS = ('bash', 'zsh')


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('completion', __doc__)
    parser.add_argument('shell', choices=SHELLS, help='whose script to print')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Print the script."""
    shell = build_parser().parse_args(argv).shell
    shtab = require('shtab', 'completion', 'completion')
    print(shtab.complete(whole_parser(shtab.FILE), shell))


def whole_parser(files: Any) -> ArgumentParser:
    """Return one parser with all subcommands, whose modules are imported for it; `files` completes paths."""
    from recognition.commands.main import COMMANDS

    whole = ArgumentParser(prog=COMMAND)
    commands = whole.add_subparsers()
    for name, command in COMMANDS.items():
        own = import_module(command.module).build_parser()
        _complete(own, files)
        commands.add_parser(name, help=command.help, parents=[own], add_help=False)
    return whole


def _complete(parser: ArgumentParser, files: Any) -> None:
    """Have the arguments of a parser completed: names of the config, and else files."""
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for each in action.choices.values():
                _complete(each, files)
        elif action.nargs != 0 and action.choices is None:
            action.choices = NAMES.get(action.dest)
            if action.choices is None:
                action.complete = files  # type: ignore[attr-defined]
