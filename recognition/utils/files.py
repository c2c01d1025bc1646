"""Files that are either whole or not there."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any, Iterator, Type, Union

from config.errors import CheckpointError, DataError, FaceSymbolsError
from config.reading import read_text, reading

PAGE = 1 << 16  # bytes of a trial, more than what is left on a disk that is called full
PathLike = Union[str, 'os.PathLike[str]']


def remove_leftovers(prefix: PathLike) -> None:
    """Remove the temporary files that a killed program left of files whose names begin with `prefix`.

    Those of a program that runs stay: its prefix may begin with this one.
    """
    prefix = Path(prefix)
    for path in prefix.parent.glob(f'.{escape(prefix.name)}*.tmp'):
        owner = path.suffixes[-2:][0].lstrip('.')
        if not (owner.isdecimal() and int(owner) != os.getpid() and _is_running(int(owner))):
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name == 'nt':  # where `kill` would send Ctrl-C
        return False
    try:
        os.kill(process, 0)
    except PermissionError:  # it is of another user
        return True
    except (OSError, OverflowError):
        return False
    return True


@contextmanager
def replacing(path: PathLike, raises: Type[FaceSymbolsError] = DataError) -> Iterator[Path]:
    """Give a temporary path in the same folder, and put it in the place of `path` once it is on the disk.

    A crash leaves the old file or the new one and nothing between. A file that cannot be written is an error of
    the class `raises`.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        to_disk(temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # mxnet's writers raise a RuntimeError
        reason = getattr(error, 'strerror', None) or _reason(error, path)
        raise raises(f'{path} cannot be written: {reason}') from error
    finally:
        with suppress(OSError):  # gone already, or never there
            temporary.unlink()


def to_disk(path: PathLike) -> None:
    """Wait until what was written to a file is on the disk."""
    with open(path, 'rb+') as written:  # Windows wants it writable
        os.fsync(written.fileno())


def write_whole(path: PathLike, content: bytes) -> Path:
    """Write a file, and its folder, as `replacing` does; DataError when it cannot be written."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def _reason(error: BaseException, path: Path) -> str:
    """Return what an error of mxnet's writers comes from: what the system says when the folder is tried, if it does."""
    try:
        with open(path.with_name(f'.{path.name}.{os.getpid()}.trial'), 'wb') as trial:
            trial.write(bytes(PAGE))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as denied:
        return denied.strerror or str(denied)
    finally:
        with suppress(OSError):
            path.with_name(f'.{path.name}.{os.getpid()}.trial').unlink()
    from symbols.ir.shapes import reason_of  # mxnet is loaded where this is reached, and only there

    return reason_of(error)


def read_json(path: Path) -> Any:
    """Return what a file of a run holds; CheckpointError where it is missing or damaged."""
    if not path.exists():
        raise CheckpointError(f'{path} does not exist')
    with reading(path, CheckpointError):
        return json.loads(read_text(path, CheckpointError))


def unicode_path(file: IO[Any]) -> str:
    """Return a path of an open file for packages that take no path that is not Unicode, as file names may be on Linux.

    There the system has another one, by the file's number.
    """
    by_number = f'/proc/self/fd/{file.fileno()}'
    return by_number if os.path.exists(by_number) else str(file.name)


def readable(path: PathLike) -> str:
    """Return a path as text that UTF-8 can hold."""
    return os.fspath(path).encode('utf-8', 'backslashreplace').decode('utf-8')
