"""Files of class names: UTF-8, one name a line, the class's number being the line's, counted from 0."""

from __future__ import annotations

from collections import Counter
from typing import List, Sequence

from config.errors import DataError, first_few
from config.reading import read_text
from recognition.utils.files import PathLike, readable, replacing

FILE = 'classes.txt'  # in the folder of a data set


def read_classes(path: PathLike, num_classes: int = 0) -> List[str]:
    """Return the names in a file, with a byte order mark or without.

    Raises DataError for a file that is unreadable or empty, a name that is empty or there twice, and another number of
    names than num_classes where that is above 0.
    """
    names = [line.strip() for line in read_text(path, DataError).rstrip().splitlines()]
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if not names or '' in names or twice:
        line = f'line {names.index("") + 1} is empty' if '' in names else 'it is empty'
        raise DataError(
            f'{readable(path)} is not a list of class names, one a line: '
            f'{f"{first_few(map(repr, twice))} is there twice" if twice else line}'
        )
    if num_classes and len(names) != num_classes:
        raise DataError(f'{readable(path)} names {len(names)} classes, and there are {num_classes}')
    return names


def write_classes(path: PathLike, names: Sequence[str]) -> None:
    """Write a file of class names."""
    with replacing(path, DataError) as temporary:
        temporary.write_text(''.join(f'{name}\n' for name in names), encoding='utf-8')
