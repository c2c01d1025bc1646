"""One sentence for whatever a missing or damaged file does to its reader."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, Type, Union

from config.errors import FaceSymbolsError

PathLike = Union[str, 'os.PathLike[str]']
LONGEST_REASON = 160
DAMAGED = 'is damaged'


def reason(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return ' '.join(str(error).split())[:LONGEST_REASON].rstrip(': ') or type(error).__name__


def no_reason(error: BaseException) -> str:
    """Return nothing, for a file of which what its package says does not help."""
    return ''


@contextmanager
def refusing(
    where: object,
    raises: Type[FaceSymbolsError],
    damage: str = DAMAGED,
    reason: Callable[[BaseException], str] = reason,
) -> Iterator[None]:
    """Make whatever the block raises an error of the class `raises` that begins with `where`.

    A damaged file can provoke any exception of the packages that read it: by numbers of 5,000 digits, brackets 10,000
    deep, arrays larger than the memory. damage: what is said of such a file before the reason.
    """
    try:
        yield
    except FaceSymbolsError:
        raise
    except MemoryError as error:
        raise raises(f'{where} {damage}, or needs more memory than there is') from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise raises(f'{where} cannot be read: {error.strerror}') from error
        words = reason(error)
        raise raises(f'{where} {damage}{words and f": {words}"}') from error


@contextmanager
def reading(
    path: PathLike,
    raises: Type[FaceSymbolsError],
    damage: str = DAMAGED,
    reason: Callable[[BaseException], str] = reason,
) -> Iterator[None]:
    """Do the same in a block that reads a file, and refuse what is not a file."""
    with refusing(
        os.fspath(path).encode('utf-8', 'backslashreplace').decode('utf-8'), raises, damage, reason
    ):
        check_regular(path)
        yield


def check_regular(path: PathLike) -> None:
    """Raise OSError for what is not a file: to open a pipe may take for ever, and a device may never end."""
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # of a zero byte in it
        raise OSError(errno.EINVAL, str(error)) from None
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, 'it is a pipe or a device, not a file')


def read_bytes(path: PathLike, raises: Type[FaceSymbolsError]) -> bytes:
    """Return the content of a file."""
    with reading(path, raises):
        return Path(path).read_bytes()


def read_text(path: PathLike, raises: Type[FaceSymbolsError]) -> str:
    """Return the content of a text file in UTF-8, with a byte order mark or without."""
    with reading(path, raises, 'is not text in UTF-8', no_reason):
        return Path(path).read_text('utf-8-sig')
