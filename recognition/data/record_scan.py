"""Go through a record file from its begin to its end, without an index, and find the way again after damage."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

import numpy as np

from config.errors import DataError
from config.reading import reading

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack('<I', MAGIC)
PART = struct.Struct('<II')  # magic, (which part) << 29 | length
WHOLE, FIRST, MIDDLE, LAST = range(4)
LENGTH_MASK = (1 << 29) - 1


class Found(NamedTuple):
    """A record that begins at `offset` (bytes), or, with `fault`, a place where none is whole."""

    offset: int
    fault: Optional[str] = None


def record_offsets(path: Path) -> np.ndarray:
    """Return where each record begins, int64 (n,); DataError for the first place that is damaged."""
    offsets = []
    for found in scan(path):
        if found.fault:
            raise DataError(f'{path}, offset {found.offset}: {found.fault}')
        offsets.append(found.offset)
    return np.array(offsets, np.int64)


def scan(path: Path) -> Iterator[Found]:
    """Yield every record of a file in order, and every place where one is damaged; DataError where it cannot be read.

    Only the heads of the parts are looked at, so a damaged head is found and damage inside an image is not.
    """
    with reading(path, DataError), open(path, 'rb') as file:
        if not path.stat().st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            yield from _records(view)


def _records(view: mmap.mmap) -> Iterator[Found]:
    offset, size = 0, len(view)
    while offset < size:
        end, fault = _end(view, offset)
        yield Found(offset, fault)
        offset = end if fault is None else _next_record(view, offset + 4)


def _end(view: mmap.mmap, start: int) -> tuple[int, Optional[str]]:
    """Return the offset after the record at `start`, or what is wrong with it."""
    offset, expected = start, (WHOLE, FIRST)
    while True:
        if offset + PART.size > len(view):
            return offset, f'a record is cut short by the end of the file ({len(view)} bytes)'
        magic, word = PART.unpack_from(view, offset)
        if magic != MAGIC:
            return offset, f"{view[offset : offset + 4].hex()} stands where RecordIO's magic number is wanted"
        which, length = word >> 29, word & LENGTH_MASK
        if which not in expected:
            what = (
                'a record begins in its middle' if offset == start else 'the last part of a record is missing'
            )
            return offset, what
        offset += PART.size + (length + 3) // 4 * 4
        if offset > len(view):
            return (
                offset,
                f'a record of {length} bytes is cut short by the end of the file ({len(view)} bytes)',
            )
        if which in (WHOLE, LAST):
            return offset, None
        expected = (MIDDLE, LAST)


def _next_record(view: mmap.mmap, offset: int) -> int:
    """Return where the next record begins at `offset` or after: the writer leaves no other aligned magic number."""
    while (offset := view.find(MAGIC_BYTES, offset)) >= 0:
        if offset % 4 == 0 and offset + PART.size <= len(view):
            which = PART.unpack_from(view, offset)[1] >> 29
            if which in (WHOLE, FIRST):
                return offset
        offset += 1
    return len(view)
