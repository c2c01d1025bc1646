"""Arrays that are never whole in memory: their rows come in pieces, from devices, other workers or a file."""

from __future__ import annotations

import io
import zipfile
from math import prod
from typing import IO, Any, Callable, Iterator, Mapping, Tuple

import numpy as np
from numpy.lib import format as npy

from recognition.utils.files import PathLike

SUFFIX = '.npy'  # of the names in a numpy archive
LARGE = 2**26  # bytes from which on an array in a file is left there
PIECE = 2**24  # bytes that are read at once
EXPANSION = 100  # how many times larger than in the file an array may be
HEADER_BYTES = 2**16  # more than numpy writes before the values of an array


class Rows:
    """An array of float32 whose rows `pieces()` gives in order, anew each time; numpy takes it for the whole array."""

    dtype = np.dtype(np.float32)

    def __init__(self, shape: Tuple[int, ...], pieces: Callable[[], Iterator[np.ndarray]]) -> None:
        self.shape, self.pieces = tuple(shape), pieces

    def __array__(self, dtype: Any = None) -> np.ndarray:
        """Return the whole array."""
        whole = np.empty(self.shape, self.dtype if dtype is None else dtype)
        start = 0
        for piece in self.pieces():
            whole[start : start + len(piece)] = piece
            start += len(piece)
        return whole


def pieces_of(array: Any) -> Iterator[np.ndarray]:
    """Give the rows of an array in pieces, whether it is a Rows, a numpy array or an NDArray."""
    if isinstance(array, Rows):
        yield from array.pieces()
    else:
        yield array if isinstance(array, np.ndarray) else array.asnumpy()


def drain(array: Any) -> None:
    """Fetch and forget all pieces of an array: another worker, which needs them, gets them only together with this."""
    for _ in pieces_of(array):
        pass


def write_archive(path: PathLike, arrays: Mapping[str, Any]) -> None:
    """Write arrays or Rows by name as numpy's savez does, with the same bytes on every Python."""
    with zipfile.ZipFile(path, 'w') as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(name + SUFFIX)
            # of a size below 2 GiB: Pythons write the headers of larger members in different ways
            member.file_size = int(np.prod(array.shape, dtype=np.int64)) * array.dtype.itemsize + HEADER_BYTES
            with archive.open(member, 'w') as out:
                write_array(out, array)


def write_array(out: IO[bytes], array: Any) -> None:
    """Write a numpy array or a Rows as numpy's format has it (.npy)."""
    if not isinstance(array, Rows):
        npy.write_array(out, np.asanyarray(array), allow_pickle=False)
        return
    npy.write_array_header_1_0(
        out, {'descr': npy.dtype_to_descr(array.dtype), 'fortran_order': False, 'shape': array.shape}
    )
    for piece in array.pieces():
        out.write(np.ascontiguousarray(piece, array.dtype).data)


def read_array(
    archive: zipfile.ZipFile, name: str, check: Callable[[np.ndarray], None] = lambda piece: None
) -> Any:
    """Read the array `name` of an open numpy archive; a large one as Rows, once all of it was found whole.

    A Rows opens the archive's file anew each time. check: is called with each piece of the array.
    Raises what zipfile and numpy raise for a damaged one.
    """
    if archive.getinfo(name).file_size >= LARGE:
        shape, dtype = _header(archive, name)
        if dtype == Rows.dtype and len(shape) >= 1:
            for piece in _pieces(archive, name):
                check(piece)  # the archive's sums are compared at the end of it
            path = str(archive.filename)
            return Rows(shape, lambda: _stored(path, name))
    info = archive.getinfo(name)
    if info.file_size > EXPANSION * (info.compress_size + HEADER_BYTES):
        raise ValueError(f'{name} would be unpacked to {info.file_size} bytes')
    content = archive.read(info)  # whole, and by its sum undamaged, before a header is believed
    whole = read_whole_array(io.BytesIO(content), len(content))
    check(whole)
    return whole


def read_whole_array(file: IO[bytes], size: int) -> np.ndarray:
    """Read the array in a .npy file of `size` bytes; ValueError where its header promises more, before it is made."""
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if min(shape, default=0) < 0 or prod(shape) * max(dtype.itemsize, 1) > size:
        raise ValueError(f'it promises an array {shape} of {dtype}, which {size} bytes do not hold')
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _header(archive: zipfile.ZipFile, name: str) -> Tuple[Tuple[int, ...], np.dtype]:
    with archive.open(name) as member:
        npy.read_magic(member)
        shape, fortran, dtype = npy.read_array_header_1_0(member)
    if fortran:
        raise ValueError(f'{name} is stored column by column')
    return shape, dtype


def _stored(path: str, name: str) -> Iterator[np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        yield from _pieces(archive, name)


def _pieces(archive: zipfile.ZipFile, name: str) -> Iterator[np.ndarray]:
    with archive.open(name) as member:
        npy.read_magic(member)
        shape, _, dtype = npy.read_array_header_1_0(member)
        length = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        at_once = max(1, PIECE // length)
        for start in range(0, shape[0], at_once):
            number = min(at_once, shape[0] - start)
            yield np.frombuffer(member.read(number * length), dtype).reshape((number, *shape[1:]))
        if member.read(1):
            raise ValueError(f'{name} is longer than its header says')
