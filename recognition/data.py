"""A folder of training faces: `property`, train.rec and train.idx, in InsightFace's two layouts.

Indexed layout: record 0 is a header whose labels are [N+1, N+C+1); records 1..N are images, those of one
identity side by side; records N+1..N+C are identities, whose labels are the range [first, last) of their
image keys. Flat layout: record 0 is an image like every other.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import numpy as np

from config.errors import DataError
from recognition.images import decode_image
from recognition.loader import FaceLoader
from recognition.records import Records

__all__ = ['FaceDataset', 'FaceLoader']

FILES = {
    'property': 'one line num_classes,height,width',
    'train.rec': 'the images as RecordIO',
    'train.idx': 'one key<TAB>offset line for each record of train.rec',
}


class FaceDataset:
    """The training faces of a folder: `len(dataset)` images, each with the label of its identity.

    folder: holds property, train.rec and train.idx.
    image_shape: (H, W, 3) that the network wants; the folder's own where it is None.
    num_classes: how many identities; image_shape: (H, W, 3); keys: record keys int64 (n,); labels: int64 (n,)
    in 0..num_classes-1.

    Opening reads one record and one image header for each identity (flat layout: each image's header), not
    the images. Raises DataError, naming file and record, for a file that is missing, damaged or contradicts
    another one.
    """

    def __init__(
        self, folder: Union[str, os.PathLike[str]], image_shape: Optional[Sequence[int]] = None
    ) -> None:
        self.folder = Path(folder)
        _require_files(self.folder)
        self.num_classes, self.image_shape = read_property(self.folder / 'property')
        if image_shape is not None and tuple(image_shape) != self.image_shape:
            raise DataError(
                f'{self.folder / "property"} says images of {_size(self.image_shape)} pixels, '
                f'and the network wants {_size(image_shape)}'
            )
        self._records = Records(self.folder / 'train.rec', self.folder / 'train.idx')
        if 0 not in self._records:
            raise DataError(f'{self._records.idx_path} has no key 0; its first record must be there')
        header, image = self._records.unpack(0)
        indexed = header.flag > 0 and not image
        self.keys, self.labels = self._read_identities(header.labels) if indexed else self._read_labels()

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, index: int) -> Tuple[np.ndarray, int]:
        """Return image `index` as uint8 RGB (H, W, 3) and its label; DataError where the record has none."""
        key, label = int(self.keys[index]), int(self.labels[index])
        header, encoded = self._records.unpack(key)
        if header.labels[0] != label:
            raise DataError(
                f'{self._records.where(key)} has label {header.labels[0]:g}, '
                f'and the first image of its identity has label {label}'
            )
        image = decode_image(encoded, self._records.where(key))
        if image.shape != self.image_shape:
            raise DataError(
                f'{self._records.where(key)} is an image of {_size(image.shape)} pixels, and property says '
                f'{_size(self.image_shape)}'
            )
        return image, label

    def close(self) -> None:
        """Close train.rec; reading on raises DataError."""
        self._records.close()

    def _read_identities(self, bounds: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return keys and labels of the indexed layout; the first image of a range gives its label."""
        records = self._records
        if len(bounds) != 2 or not 1 < bounds[0] <= bounds[1]:
            raise DataError(
                f'{records.where(0)} has the labels {bounds.tolist()} '
                'where the range of the identity records is wanted: first key, last key + 1'
            )
        identities = range(int(bounds[0]), int(bounds[1]))
        self._check_count(len(identities), 'identity records')
        ranges = np.array([self._image_range(key, identities.start) for key in identities], np.int64).reshape(
            -1, 2
        )
        first, last = ranges.T
        self._check_overlap(ranges, identities.start)
        own = np.array([self._label(int(key)) for key in first], np.int64)
        values, counts = np.unique(own, return_counts=True)
        if len(values) < len(own):
            twice = np.flatnonzero(own == values[counts > 1][0])[:2] + identities.start
            raise DataError(
                f'{records.path}: the identity records {twice[0]} and {twice[1]} both hold images of label '
                f'{values[counts > 1][0]}; one label is one identity'
            )
        keys = np.concatenate([np.arange(a, b, dtype=np.int64) for a, b in ranges])
        missing = np.setdiff1d(keys, records.keys)
        if len(missing):
            raise DataError(
                f'{records.idx_path} has no key {missing[0]}, which an identity record counts as its image'
            )
        return keys, np.repeat(own, last - first)

    def _image_range(self, identity: int, end: int) -> Tuple[int, int]:
        """Return the range [first, last) of image keys, all in 1..end-1, that an identity record holds."""
        labels = self._records.read_header(identity).labels
        where = self._records.where(identity)
        if len(labels) != 2 or not np.all(np.isfinite(labels)):
            raise DataError(
                f'{where} should be an identity with the labels [first, last) and has {labels.tolist()}'
            )
        first, last = int(labels[0]), int(labels[1])
        if first == last:
            raise DataError(f'{where} is an empty identity: its range of image keys is [{first}, {last})')
        if not 1 <= first < last <= end:
            raise DataError(f'{where} has the range [{first}, {last}), and image keys are 1 to {end - 1}')
        return first, last

    def _check_overlap(self, ranges: np.ndarray, start: int) -> None:
        order = np.argsort(ranges[:, 0], kind='stable')
        crossing = np.flatnonzero(ranges[order[1:], 0] < ranges[order[:-1], 1])
        if len(crossing):
            one, other = sorted(int(start + order[crossing[0] + k]) for k in (0, 1))
            raise DataError(f'{self._records.path}: the identity records {one} and {other} share images')

    def _read_labels(self) -> Tuple[np.ndarray, np.ndarray]:
        """Return keys and labels of the flat layout, in the order of the index."""
        keys = self._records.keys
        labels = np.fromiter((self._label(int(key)) for key in keys), np.int64, len(keys))
        absent = np.setdiff1d(np.arange(self.num_classes), labels)
        if len(absent):
            self._check_count(self.num_classes - len(absent), f'labels (label {absent[0]} has no image)')
        return keys, labels

    def _label(self, key: int) -> int:
        label = float(self._records.read_header(key).labels[0])
        if not (0 <= label < self.num_classes and label == int(label)):
            raise DataError(
                f'{self._records.where(key)} has label {label:g}; '
                f'by the {self.num_classes} classes of property it must be 0 to {self.num_classes - 1}'
            )
        return int(label)

    def _check_count(self, count: int, what: str) -> None:
        if count != self.num_classes:
            raise DataError(
                f'{self.folder / "property"} says {self.num_classes} classes, '
                f'and {self._records.path} has {count} {what}'
            )


def read_property(path: Path) -> Tuple[int, Tuple[int, int, int]]:
    """Return (num_classes, (H, W, 3)) from the first line of a `property` file; others are not read."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise DataError(f'cannot read {path}; it should hold {FILES["property"]}') from None
    line = lines[0] if lines else ''
    fields = [field.strip() for field in line.split(',')]
    if len(fields) != 3 or not all(field.isdecimal() and int(field) > 0 for field in fields):
        raise DataError(
            f'{path} begins with {line[:60]!r} where {FILES["property"]} is wanted, as in 85742,112,112'
        )
    classes, height, width = (int(field) for field in fields)
    return classes, (height, width, 3)


def _require_files(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f'there is no folder {folder}; a data set is a folder with {", ".join(FILES)}')
    for name, content in FILES.items():
        if not (folder / name).is_file():
            raise DataError(f'{folder} has no {name} ({content}); a data set is {", ".join(FILES)} together')


def _size(shape: Sequence[int]) -> str:
    return 'x'.join(str(side) for side in shape[:2])
