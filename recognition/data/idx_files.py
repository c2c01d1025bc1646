"""IDX files, in which MNIST and Fashion-MNIST are distributed: images and their labels, compressed or not.

A file is two zero bytes, the type of its values (8 for unsigned bytes), the number of its axes, their lengths as
big-endian integers of 32 bits, and the values. Source: LeCun et al., 'The MNIST database of handwritten digits'.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Tuple

import numpy as np

from config.errors import DataError
from config.reading import no_reason, read_bytes, reading

GZIP_BEGIN = b'\x1f\x8b'
GZIP = 16 + zlib.MAX_WBITS  # zlib's number of the format
EXPANSION = 100  # how many times larger than in the file images may be
UNSIGNED_BYTES = 8
KINDS = {3: 'images', 1: 'labels'}  # by the number of axes


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Return the values of a file with 3 axes (images) or 1 (labels), uint8; DataError for any other content."""
    content = read_bytes(path, DataError)
    if content.startswith(GZIP_BEGIN):
        with reading(path, DataError, 'is not a whole gzip file', no_reason):
            content = _decompressed(content)
    head, begin = bytes((0, 0, UNSIGNED_BYTES, axes)), 4 + 4 * axes
    if content[:4] != head:
        raise DataError(
            f'{path} begins with the bytes {content[:4].hex(" ")}, where an IDX file of {KINDS[axes]} begins with '
            f'{head.hex(" ")}'
        )
    if len(content) < begin:
        raise DataError(f'{path} is cut short: it ends before its sizes do')
    shape = struct.unpack(f'>{axes}I', content[4:begin])
    wanted = begin + int(np.prod(shape, dtype=object))
    if len(content) != wanted or not wanted - begin:
        words = 'is cut short' if len(content) < wanted else 'does not fit its sizes'
        raise DataError(
            f'{path} {words}: it has {len(content)} bytes, and {shape} {KINDS[axes]} take {wanted}'
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def _decompressed(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(GZIP)
    found = unpacker.decompress(content, EXPANSION * len(content))
    if not unpacker.eof:
        raise EOFError
    return found


def read_labelled(path: Path) -> Tuple[np.ndarray, np.ndarray]:
    """Return the images uint8 (N, H, W) of a file, and the labels uint8 (N,) of the one that `labels_of` finds.

    Raises DataError for a file that is missing, damaged or of another kind, and for numbers that differ.
    """
    images, labels_path = read_idx(path, 3), labels_of(path)
    labels = read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(f'{path} has {len(images)} images, and {labels_path} {len(labels)} labels')
    return images, labels


def labels_of(path: Path) -> Path:
    """Return the file of labels that goes by its name with a file of images; DataError where there is none.

    Of `train-images-idx3-ubyte.gz` it is `train-labels-idx1-ubyte`, with or without .gz.
    """
    name = path.name[:-3] if path.name.endswith('.gz') else path.name
    wanted = name.replace('images', 'labels').replace('idx3', 'idx1')
    if wanted == name:
        raise DataError(
            f'{path} is not named as a file of images, such as train-images-idx3-ubyte.gz, to which the labels '
            'train-labels-idx1-ubyte.gz belong'
        )
    for candidate in (path.with_name(wanted), path.with_name(f'{wanted}.gz')):
        if candidate.exists():
            return candidate
    raise DataError(f'{path} has no file of labels beside it, {wanted} or {wanted}.gz')
