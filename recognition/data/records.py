"""Read RecordIO files (train.rec with train.idx) without mxnet, safely from any process or thread.

A record file is a row of parts: the magic number, a word whose top three bits say which part of a record this
is and whose other bits give its length, the bytes themselves, and zeros up to a multiple of four. The writer
takes out every aligned magic number inside a record and cuts there, so that a reader that is lost can find
the next record; reading puts it back. Source: dmlc-core's recordio.h and mxnet.recordio.IRHeader.
"""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path
from typing import NamedTuple, NoReturn, Optional, Tuple

import numpy as np

from config.errors import DataError
from config.reading import read_bytes, reading
from recognition.data.record_scan import (
    FIRST,
    LAST,
    LENGTH_MASK,
    MAGIC,
    MAGIC_BYTES,
    MIDDLE,
    PART,
    WHOLE,
    record_offsets,
)
from recognition.utils.files import PathLike

IMAGE_HEADER = struct.Struct('<IfQQ')  # flag, label, id, id2
FLAGS = os.O_RDONLY | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_BINARY', 0)  # these two not everywhere
_PEEK = 64  # bytes that hold a part's head, an image header and a few labels


_seeking = threading.Lock()


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """Read bytes at an offset of a file as `os.pread` does, which Windows has not; there no fork shares the file."""
    if hasattr(os, 'pread'):
        return os.pread(descriptor, count, offset)
    with _seeking:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)


class Header(NamedTuple):
    """What stands before the image in a record: `labels` is float32 (flag,), or (1,) where flag is 0."""

    flag: int
    labels: np.ndarray
    id: int
    id2: int


class Records:
    """Records by key, read with `os.pread` on one file descriptor that forked processes may share.

    `keys` and `offsets` are int64 arrays in the order of the index file; without one (None) the keys are 0, 1, 2 ... in
    the order of the file, whose heads are then all read first. `index` gives keys and offsets in place of a file.
    Raises DataError, naming the file and the record, for whatever is missing, malformed or cut short.
    """

    def __init__(
        self,
        rec_path: PathLike,
        idx_path: Optional[PathLike],
        *,
        index: Optional[Tuple[np.ndarray, np.ndarray]] = None,
    ) -> None:
        self.path = Path(rec_path)
        self.without_index = idx_path is None
        self.idx_path = Path(rec_path if idx_path is None else idx_path)
        if index is not None:
            self.keys, self.offsets = index
        elif idx_path is None:
            self.offsets = record_offsets(self.path)
            self.keys = np.arange(len(self.offsets))
        else:
            self.keys, self.offsets = read_index(self.idx_path)
        self._order = None if np.all(np.diff(self.keys) > 0) else np.argsort(self.keys, kind='stable')
        self._sorted = self.keys if self._order is None else self.keys[self._order]
        repeated = np.flatnonzero(np.diff(self._sorted) == 0)
        if len(repeated):
            raise DataError(
                f'{self.idx_path} lists key {self._sorted[repeated[0]]} twice; every key may stand once'
            )
        with reading(self.path, DataError):
            self._fd: Optional[int] = os.open(self.path, FLAGS)
        self.size = os.fstat(self._fd).st_size

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (int, np.integer)) and self._position(int(key)) is not None

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __del__(self) -> None:
        if getattr(self, '_fd', None) is not None:
            self.close()

    def offset(self, key: int) -> int:
        """Return where record `key` begins, in bytes; DataError for a key that the index does not have."""
        position = self._position(key)
        if position is None:
            raise DataError(
                f'{self.idx_path} has no key {key}, so {self.path.name} lacks that record or the index is cut'
            )
        return int(self.offsets[position])

    def read(self, key: int) -> bytes:
        """Return the payload of record `key`, its parts joined."""
        start = self.offset(key)
        which, data, end = self._part(key, start, start)
        if which == WHOLE:
            return data
        if which != FIRST:
            self._fail(key, start, 'begins in the middle of a longer record')
        parts = [data]
        while which != LAST:
            which, data, end = self._part(key, start, end)
            if which not in (MIDDLE, LAST):
                self._fail(key, start, 'breaks off: its last part is missing')
            parts.append(data)
        return MAGIC_BYTES.join(parts)

    def unpack(self, key: int) -> Tuple[Header, bytes]:
        """Return the header of record `key` and the encoded image after it (b'' where there is none)."""
        data = self.read(key)
        header = self._header(key, data)
        return header, data[IMAGE_HEADER.size + 4 * header.flag :]

    def read_header(self, key: int) -> Header:
        """Return the header of record `key`, reading a few bytes of it only."""
        start = self.offset(key)
        head = self._pread(_PEEK, start)
        if len(head) >= PART.size:
            magic, word = PART.unpack_from(head)
            length = word & LENGTH_MASK
            inside = start + PART.size + length <= self.size
            if (
                magic == MAGIC
                and word >> 29 == WHOLE
                and inside
                and len(head) >= PART.size + IMAGE_HEADER.size <= PART.size + length
            ):
                flag = IMAGE_HEADER.unpack_from(head, PART.size)[0]
                if IMAGE_HEADER.size + 4 * flag <= min(length, len(head) - PART.size):
                    return self._header(key, head[PART.size :])
        return self._header(key, self.read(key))  # a rare shape, or a fault that this names

    def where(self, key: int) -> str:
        """Return the words that name record `key` in an error."""
        return f'{self.path}, record {key} (offset {self.offset(key)})'

    def _position(self, key: int) -> Optional[int]:
        position = int(np.searchsorted(self._sorted, key))
        if position == len(self._sorted) or self._sorted[position] != key:
            return None
        return position if self._order is None else int(self._order[position])

    def _pread(self, count: int, offset: int) -> bytes:
        if self._fd is None:
            raise DataError(f'{self.path} has been closed; open the data set again')
        try:
            return read_at(self._fd, count, offset)
        except OSError as error:
            raise DataError(f'cannot read {self.path} at offset {offset}: {error.strerror}') from None

    def _part(self, key: int, start: int, offset: int) -> Tuple[int, bytes, int]:
        """Return (which part, its bytes, the offset after it); the record itself begins at `start`."""
        if offset >= self.size:
            what = 'begins' if offset == start else 'goes on'
            self._fail(
                key, start, f'{what} beyond the end of the file ({self.size} bytes): the file is cut short'
            )
        head = self._pread(PART.size, offset)
        if len(head) < PART.size:
            self._fail(key, start, 'is cut short')
        magic, word = PART.unpack(head)
        if magic != MAGIC:
            self._fail(key, start, f"does not begin with RecordIO's magic number but with {head[:4].hex()}")
        length = word & LENGTH_MASK
        data = self._pread(length, offset + PART.size)
        if len(data) < length:
            self._fail(key, start, f'is cut short: {len(data)} of {length} bytes are there')
        return word >> 29, data, offset + PART.size + (length + 3) // 4 * 4

    def _header(self, key: int, data: bytes) -> Header:
        if len(data) < IMAGE_HEADER.size:
            self._fail(
                key,
                self.offset(key),
                f'holds {len(data)} bytes, less than an image header of {IMAGE_HEADER.size}',
            )
        flag, label, number, number2 = IMAGE_HEADER.unpack_from(data)
        if flag == 0:
            return Header(0, np.array([label], np.float32), number, number2)
        if len(data) < IMAGE_HEADER.size + 4 * flag:
            self._fail(key, self.offset(key), f'promises {flag} labels and is too short for them')
        return Header(flag, np.frombuffer(data, '<f4', flag, IMAGE_HEADER.size), number, number2)

    def _fail(self, key: int, start: int, fault: str) -> NoReturn:
        raise DataError(f'{self.path}: record {key} (offset {start}) {fault}')


def read_index(path: PathLike) -> Tuple[np.ndarray, np.ndarray]:
    """Return keys and offsets, int64 (n,), of an index file with one `key<TAB>offset` line per record.

    Millions of lines are parsed as one array; DataError names the first line that is malformed.
    """
    text = read_bytes(path, DataError).replace(b'\r\n', b'\n')
    if not text.strip():
        raise DataError(f'{path} is empty; it should hold one key<TAB>offset line per record')
    if not text.endswith(b'\n'):
        text += b'\n'
    characters = np.frombuffer(text, np.uint8)
    separators = characters[characters < ord('0')]
    regular = (
        len(separators) % 2 == 0
        and bool(np.all(separators[::2] == ord('\t')))
        and bool(np.all(separators[1::2] == ord('\n')))
        and int(np.max(characters)) <= ord('9')
    )
    if regular:
        values = np.fromstring(text, np.int64, sep=' ')  # any whitespace separates
        if len(values) == len(separators):  # fewer: a field is empty
            _check_size(path, text, values)
            return values[::2].copy(), values[1::2].copy()
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split(b'\t')
        if len(fields) != 2 or not all(field.isdigit() for field in fields):
            raise DataError(f'{path}, line {number} is {line[:40]!r} where key<TAB>offset is wanted')
    raise DataError(f'{path} is not an index of key<TAB>offset lines')


def _check_size(path: PathLike, text: bytes, values: np.ndarray) -> None:
    """Raise DataError for the first number that int64 does not hold; numpy parses it as the largest int64."""
    over = np.flatnonzero(values == np.iinfo(np.int64).max)
    if len(over):
        number = text.split()[over[0]].decode()
        raise DataError(f'{path}, line {over[0] // 2 + 1} has the number {number[:40]}, which is too large')
