"""SHA-256 sums beside files whose format has none, as `sha256sum` writes and checks them: FILE.sha256."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Set

from config.errors import CheckpointError
from config.reading import read_bytes
from recognition.utils.files import replacing

SUFFIX = '.sha256'
DIGITS = re.compile(r'(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])')
PIECE = 1 << 20  # bytes read at a time
_checked = True  # whether files are compared with their sums


def checksum_path(path: Path) -> Path:
    """Return the path of the sum of a file."""
    return path.with_name(path.name + SUFFIX)


@contextmanager
def replacing_with_checksum(path: Path) -> Iterator[Path]:
    """Give a temporary path, as `replacing` does, and put its content and its sum in the place of the old ones.

    While the file gives way, the sum of either content stands beside it, so that whenever a crash comes the one that
    is there is found whole. Raises CheckpointError where one of them cannot be written, and then the old file stays.
    """
    sums = checksum_path(path)
    with replacing(path, CheckpointError) as temporary:
        yield temporary
        line = f'{sum_of(temporary)}  {path.name}\n'.encode()
        with replacing(sums, CheckpointError) as both:
            both.write_bytes(line + '\n'.join(_lines(path)).encode())
    os.truncate(sums, len(line))  # which needs no room on the disk


def set_checked(checked: bool) -> None:
    """Have this process compare the files that it loads with their sums, as it does by default, or not."""
    global _checked
    _checked = checked


def check_checksum(path: Path) -> None:
    """Raise CheckpointError where a sum stands beside a file and is not the file's, unless `set_checked` is off."""
    sums = _sums(path) if _checked else set()
    if sums and sum_of(path) not in sums:
        raise CheckpointError(
            f'{path} is damaged: its sum is not the one in {checksum_path(path).name}; '
            'where another program has written it since, remove that file'
        )


def _sums(path: Path) -> Set[str]:
    """Return the sums beside a file, in the form of any program, whatever the file was called when they were taken."""
    text = '\n'.join(_lines(path)).replace('\0', '')  # PowerShell writes UTF-16
    found = {digits.lower() for digits in DIGITS.findall(text)}
    if text.strip() and not found:
        raise CheckpointError(
            f'{checksum_path(path)} holds no SHA-256 sum; remove it, or write it with sha256sum'
        )
    return found


def sum_of(path: Path) -> str:
    """Return the SHA-256 sum of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _lines(path: Path) -> List[str]:
    sums = checksum_path(path)
    return read_bytes(sums, CheckpointError).decode('utf-8', 'replace').splitlines() if sums.exists() else []
