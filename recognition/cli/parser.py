"""Command-line parsers: a mistake is one sentence, and old option names still work for one release."""

from __future__ import annotations

import argparse
import difflib
import logging
import re
import sys
from typing import Any, Dict, List, NoReturn, Optional, Sequence, Tuple

from config.errors import ConfigError
from recognition.utils.checksums import set_checked

logger = logging.getLogger(__name__)

COMMAND = 'facesymbols'


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` whose mistakes are ConfigErrors and which knows the old names of its options."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault('allow_abbrev', False)
        settings.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **settings)
        self._new_names: Dict[str, str] = {}

    def rename(self, old: str, new: str) -> None:
        """Take the option `old` for `new`, with a warning."""
        self._new_names[old] = new

    @property
    def old_names(self) -> List[Tuple[str, str]]:
        """The old names of options, each with the new one."""
        return list(self._new_names.items())

    def parse_known_args(  # type: ignore[override]
        self, args: Optional[Sequence[str]] = None, namespace: Any = None
    ) -> Tuple[argparse.Namespace, List[str]]:
        """Parse a command line; ConfigError, with the nearest option, for a word that the parser does not know."""
        words = self._renamed(list(sys.argv[1:] if args is None else args))
        if self._subparsers is None:  # before argparse misses what a misspelt option was to give
            own = words[: words.index('--')] if '--' in words else words
            self._refuse([word for word in own if word.startswith('--') and not self._knows(word)])
        found, unknown = super().parse_known_args(words, namespace)
        self._refuse(unknown)
        set_checked(not getattr(found, 'no_check', False))
        return found, unknown

    def _refuse(self, unknown: Sequence[str]) -> None:
        if unknown:
            word = next((word for word in unknown if word.startswith('-')), unknown[0]).partition('=')[0]
            what = 'an option' if word.startswith('-') else 'expected'
            self.error(f'{word!r} is not {what}{self._nearest(word)}')

    def _nearest(self, word: str) -> str:
        """Return a hint at the option that is most like a word; of one letter none is."""
        names = {name.lstrip('-'): name for name in self.option_names() if name.startswith('--')}
        close = difflib.get_close_matches(word.lstrip('-'), names, n=1, cutoff=0.6)
        return f'; did you mean {names[close[0]]!r}?' if close else ''

    def _knows(self, word: str) -> bool:
        return word.partition('=')[0] in self.option_names()

    def option_names(self) -> List[str]:
        """Return every option, long and short, without the old names."""
        return [name for action in self._actions for name in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError, in place of printing the usage, which may be pages long."""
        sentence = re.sub(r'^argument (?=-)', '', message)  # argparse's words before the option's name
        raise ConfigError(f'{sentence} ({self.prog} --help lists the options)')

    def _renamed(self, words: Sequence[str]) -> List[str]:
        end = words.index('--') if '--' in words else len(words)
        return [self._new_name(word) if place < end else word for place, word in enumerate(words)]

    def _new_name(self, word: str) -> str:
        name, equals, value = word.partition('=')
        new = self._new_names.get(name)
        if new is None:
            return word
        logger.warning('warning: %s is deprecated and will be removed in the next release; use %s', name, new)
        return f'{new}{equals}{value}'


def command_parser(name: str, description: Optional[str], example: str = '') -> Parser:
    """Return the parser of `facesymbols NAME`; the description is a module's docstring."""
    epilog = f'example: {COMMAND} {name} {example}' if example else None
    return Parser(prog=f'{COMMAND} {name}', description=description, epilog=epilog)
