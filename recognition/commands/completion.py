"""Print a script that completes commands and options in a shell; the line below, in its start-up file, loads it.

eval "$(facesymbols completion bash)"          in ~/.bashrc; zsh in ~/.zshrc, tcsh in ~/.tcshrc
"""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module
from typing import Optional, Sequence

from recognition.cli.parser import COMMAND, Parser, command_parser
from recognition.utils.packages import require

SHELLS = ('bash', 'zsh', 'tcsh')


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('completion', __doc__)
    parser.add_argument('shell', choices=SHELLS, help='whose script to print')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Print the script."""
    shell = build_parser().parse_args(argv).shell
    print(require('shtab', 'completion', 'completion').complete(whole_parser(), shell))


def whole_parser() -> ArgumentParser:
    """Return one parser with all subcommands, whose modules are imported for it."""
    from recognition.commands.main import COMMANDS

    whole = ArgumentParser(prog=COMMAND)
    commands = whole.add_subparsers()
    for name, command in COMMANDS.items():
        own = import_module(command.module).build_parser()
        commands.add_parser(name, help=command.help, parents=[own], add_help=False)
    return whole
