"""Files that are either whole or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Union

from config.errors import DataError

PathLike = Union[str, 'os.PathLike[str]']


def write_whole(path: PathLike, content: bytes) -> Path:
    """Write a file, and its folder, so that a crash leaves the old file or the new one and nothing between.

    Raises DataError when the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f'{path} cannot be written: {error.strerror}') from error
    finally:
        with suppress(OSError):  # gone already, or never there
            temporary.unlink()
    return path
