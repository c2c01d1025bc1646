"""Write docs/commands.md from the parsers: every command, every option with its commands, and the old names."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from recognition.cli import run
from config.errors import DataError
from recognition.cli.parser import COMMAND, Parser
from recognition.commands.main import COMMANDS
from recognition.utils.files import write_whole

DOCUMENT = Path(__file__).resolve().parents[1] / 'docs' / 'commands.md'
HEAD = f"""# Commands

`{COMMAND} COMMAND ...`, or `python -m recognition COMMAND ...` from the root of a checkout that is not installed.
`{COMMAND} COMMAND --help` describes a command. A mistake is one sentence on standard error, and the exit status is 1.

Completion in bash and zsh needs `pip install 'facesymbols[completion]'` and one line in `~/.bashrc`
(zsh: `~/.zshrc`):

    eval "$({COMMAND} completion bash)"

This page is written by `python tools/write_commands.py`.
"""


class Use(NamedTuple):
    """An option as one command has it."""

    command: str
    names: Tuple[str, ...]
    metavar: str
    help: str


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the page, or with --check raise DataError where it is not up to date."""
    parser = argparse.ArgumentParser(prog='write_commands.py', description=__doc__)
    parser.add_argument(
        '--check', action='store_true', help='write nothing; status 1 where it is out of date'
    )
    check = parser.parse_args(argv).check
    text = page()
    if not check:
        write_whole(DOCUMENT, text.encode('utf-8'))
    elif not DOCUMENT.is_file() or DOCUMENT.read_text('utf-8') != text:
        raise DataError(f'{DOCUMENT} is not up to date; run python tools/write_commands.py')


def page() -> str:
    """Return the page as Markdown."""
    parsers = {name: import_module(command.module).build_parser() for name, command in COMMANDS.items()}
    listed = [[f'`{name}`', command.help] for name, command in COMMANDS.items()]
    old = sorted(
        (old, new, f'`{name}`')
        for name, one in parsers.items()
        for part in _parts(one)
        for old, new in part.old_names
    )
    return '\n'.join(
        [
            HEAD,
            *_table(['command', 'what it does'], listed),
            '',
            '## Options',
            '',
            f'`train` also takes every key of the config as an option: `{COMMAND} train --help-all`.',
            '',
            *_table(['option', 'commands', 'meaning'], _options(parsers)),
            '',
            '## Old names',
            '',
            'They still work, with a warning, and will be removed in the next release.',
            '',
            *_table(['old', 'new', 'commands'], _merged(old)),
            '',
        ]
    )


def _parts(parser: Parser) -> Iterator[Parser]:
    """Yield a parser and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _options(parsers: Dict[str, Parser]) -> List[List[str]]:
    uses: Dict[str, List[Use]] = {}
    for command, parser in parsers.items():
        for part in _parts(parser):
            for use in _uses(command, part):
                held = uses.setdefault(use.names[-1] if len(use.names[0]) == 2 else use.names[0], [])
                if command not in [each.command for each in held]:
                    held.append(use)
    rows = []
    for _, held in sorted(uses.items()):
        first = held[0]
        names = sorted({name for use in held for name in use.names}, key=lambda name: (len(name) > 2, name))
        shown = ', '.join(f'`{name}`' for name in names) + (f' `{first.metavar}`' if first.metavar else '')
        rows.append([shown, ', '.join(use.command for use in held), _meaning(held)])
    return rows


def _meaning(uses: Sequence[Use]) -> str:
    """Return the help of an option; where commands differ, that of each."""
    by_text: Dict[str, List[str]] = {}
    for use in uses:
        by_text.setdefault(use.help, []).append(use.command)
    if len(by_text) == 1:
        return uses[0].help
    return '<br>'.join(f'{", ".join(commands)}: {text}' for text, commands in by_text.items())


def _uses(command: str, parser: Parser) -> Iterator[Use]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if not action.option_strings or action.help == argparse.SUPPRESS or '--help' in action.option_strings:
            continue
        metavar = '' if action.nargs == 0 else formatter._format_args(action, action.dest.upper())
        text = formatter._expand_help(action).replace('|', r'\|')
        yield Use(command, tuple(action.option_strings), metavar.replace('|', r'\|'), text)


def _merged(rows: Sequence[Tuple[str, str, str]]) -> List[List[str]]:
    commands: Dict[Tuple[str, str], List[str]] = {}
    for old, new, command in rows:
        commands.setdefault((old, new), []).append(command)
    return [
        [f'`{old}`', f'`{new}`', ', '.join(dict.fromkeys(names))] for (old, new), names in commands.items()
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> List[str]:
    return [f'| {" | ".join(row)} |' for row in [head, ['---'] * len(head), *rows]]


if __name__ == '__main__':
    run(main)
