"""Make the index of a record file anew, from the file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, List, Tuple

import numpy as np

from config.errors import DataError
from recognition.data.dataset import index_of, record_files
from recognition.data.records import Records
from recognition.utils.files import write_whole


def write_indices(folder: Path) -> List[Tuple[Path, int]]:
    """Write the index of each record file of a data set that has none; return their paths and numbers of records.

    A record's key is the `id` of its header, as InsightFace's and mxnet's writers leave it there; where these are not
    all different, as in a shuffled set, its position. DataError where every file has its index, or one is damaged.
    """
    missing = [path for path in record_files(folder, needs_property=False) if index_of(path) is None]
    if not missing:
        raise DataError(f'every record file of {folder} has its index; remove one to have it made anew')
    return list(_written(missing))


def _written(paths: List[Path]) -> Iterator[Tuple[Path, int]]:
    for path in paths:
        records = Records(path, None)
        keys = np.array([records.read_header(int(number)).id for number in records.keys], np.uint64)
        if len(np.unique(keys)) < len(keys):
            keys = records.keys.astype(np.uint64)
        order = np.argsort(keys, kind='stable')
        lines = ''.join(f'{key}\t{offset}\n' for key, offset in zip(keys[order], records.offsets[order]))
        index = path.with_suffix('.idx')
        write_whole(index, lines.encode())
        yield index, len(keys)
