"""The sizes that a .params file declares: MXNet makes room for an array before it finds that its values are not there.

A file is a magic number, a reserved one, the arrays and their names, each list with its length before it. An array is a
magic number, the kind of storage, the shape, a device, the type, and the values. Source: MXNet 1.9.1,
src/ndarray/ndarray.cc (NDArray::Save, LegacyLoad) and include/mxnet/tuple.h (Tuple::Save).
"""

from __future__ import annotations

import os
import struct
from math import prod
from pathlib import Path
from typing import BinaryIO, Tuple

LIST = struct.Struct('<QQQ')  # magic number, reserved, how many arrays
LIST_MAGIC = 0x112
OLD_SHAPES, SPARSE_KNOWING, NUMPY_SHAPES = (
    0xF993FAC8,
    0xF993FAC9,
    0xF993FACA,
)  # an array's magic numbers, by age
DENSE = 0  # the kind of storage
SIZES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1, 12: 2}  # bytes of a value by its type
MOST_AXES = 32
LEAST = 8  # bytes of an array or a name


def check_sizes(path: Path) -> None:
    """Raise ValueError or struct.error where a file promises more than it holds, or has arrays that are sparse."""
    with open(path, 'rb') as file:
        size = os.fstat(file.fileno()).st_size
        magic, _, count = LIST.unpack(file.read(LIST.size))
        if magic != LIST_MAGIC:
            raise ValueError('it begins with another number than a file of parameters')
        _check_count(count, size)
        for _ in range(count):
            shape, kind = _head(file)
            if kind not in SIZES or min(shape) < 0:
                raise ValueError(f'it holds an array {shape} of type {kind}')
            _skip(file, prod(shape) * SIZES[kind], size)
        (names,) = struct.unpack('<Q', file.read(8))
        _check_count(names, size)
        for _ in range(names):
            _skip(file, struct.unpack('<Q', file.read(8))[0], size)


def _head(file: BinaryIO) -> Tuple[Tuple[int, ...], int]:
    """Return the shape and the type of an array, ((0,), 0) of one that is empty; the values come next."""
    (magic,) = struct.unpack('<I', file.read(4))
    if magic in (SPARSE_KNOWING, NUMPY_SHAPES) and struct.unpack('<i', file.read(4))[0] != DENSE:
        raise ValueError('it holds an array that is sparse')
    known = magic in (OLD_SHAPES, SPARSE_KNOWING, NUMPY_SHAPES)
    axes = struct.unpack('<i', file.read(4))[0] if known else magic  # the oldest begin with the shape
    if axes > MOST_AXES:
        raise ValueError(f'it holds an array of {axes} axes')
    shape = struct.unpack(
        f'<{max(axes, 0)}{"q" if known else "I"}', file.read((8 if known else 4) * max(axes, 0))
    )
    if axes < 0 or (axes == 0 and magic != NUMPY_SHAPES):
        return (0,), 0
    _device, _number, kind = struct.unpack('<iii', file.read(12))
    return (*shape, 1), kind


def _check_count(count: int, size: int) -> None:
    if count * LEAST > size:
        raise ValueError(f'it promises {count} arrays')


def _skip(file: BinaryIO, length: int, size: int) -> None:
    if file.tell() + length > size:
        raise ValueError('it promises values that are not there')
    file.seek(length, os.SEEK_CUR)
