"""The errors a user can act on, and the nearest-name hint they carry.

Every message is one sentence: what is wrong, where, and what would be right. Command-line tools print the
sentence and exit with status 1 (`recognition.cli.run`); a program that calls the library catches `FaceSymbolsError`.
"""

from __future__ import annotations

import difflib
import re
from typing import Iterable

LONG_WORD = re.compile(r'(\S{100})\S{400,}')


class FaceSymbolsError(Exception):
    """A mistake or a fault outside the program; its text is one clear sentence."""

    def __str__(self) -> str:
        """Return the sentence, with what a damaged file has for names cut to a length that can be read."""
        return LONG_WORD.sub(r'\1...', super().__str__())


class ConfigError(FaceSymbolsError, ValueError):
    """A key, value or combination that no network, data set or loss can be built from."""


class DataError(FaceSymbolsError):
    """A file of records, images or pairs that is missing, damaged or contradicts another one."""


class CheckpointError(FaceSymbolsError):
    """A checkpoint that is missing, damaged or belongs to another network."""


class MissingExtra(FaceSymbolsError, ImportError):
    """An optional package (or another mxnet wheel) that this call needs and that is not installed."""


def nearest(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name closest to `name`, or '' when none is close.

    Never for `name` itself: where it is known, its spelling is not what is wrong.
    """
    names = [str(k) for k in known]
    if str(name) in names:
        return ''
    close = [k for k in names if k.lower() == str(name).lower()]
    close = close or difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f'; did you mean {close[0]!r}?' if close else ''


def kind_of(value: object) -> str:
    """Return the type of a value with its article, as 'an int'."""
    name = type(value).__name__
    return f'{"an" if name[0] in "aeiou" else "a"} {name}'


def first_few(names: Iterable[object], most: int = 3) -> str:
    """Return names with commas between them; of more than `most` the first ones, and how many more there are."""
    words = [str(name) for name in names]
    more = f' and {len(words) - most} more' if len(words) > most else ''
    return f'{", ".join(words[:most])}{more}'
