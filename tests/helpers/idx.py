"""IDX files for tests."""

from __future__ import annotations

import gzip
import struct


def idx_bytes(values):
    """Return an array uint8 as an IDX file."""
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f'>{values.ndim}I', *values.shape) + values.tobytes()


def write_idx(folder, name, images, labels, images_end='', labels_end=''):
    """Write a file of images, whose path is returned, and its file of labels; an end of .gz has it compressed."""
    path = folder / f'{name}-images-idx3-ubyte{images_end}'
    beside = folder / f'{name}-labels-idx1-ubyte{labels_end}'
    for file, values in ((path, images), (beside, labels)):
        content = idx_bytes(values)
        file.write_bytes(gzip.compress(content) if file.suffix == '.gz' else content)
    return path
