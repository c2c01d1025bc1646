"""Layouts of record files, by which images are told from other records: InsightFace's two, and files without an index.

Indexed layout: record 0 is a header whose labels are [N+1, N+C+1); records 1..N are images, those of one
identity side by side; records N+1..N+C are identities, whose labels are the range [first, last) of their
image keys. Flat layout, which im2rec writes: every record is an image with its label in its own header, and the keys
begin anywhere; so it also covers files without an index. Records with labels and no image are skipped.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence, Tuple

import numpy as np

from config.errors import DataError
from recognition.data.records import Records


class Layout(NamedTuple):
    """The images of a record file: their keys and labels, int64 (n,); `indexed` says by which layout."""

    keys: np.ndarray
    labels: np.ndarray
    indexed: bool


def read_layout(records: Records, num_classes: int) -> Layout:
    """Return the images of a file with labels in 0..num_classes-1, by one header for each identity or image.

    DataError, naming the record, for one that is missing or contradicts another.
    """
    if not records.without_index and 0 in records:
        header, image = records.unpack(0)
        if header.flag > 0 and not image:
            return _identities(records, header.labels, num_classes)
    others = [int(key) for key in records.keys if holds_labels_alone(records, int(key))]
    fault = header_fault(records, others)
    if fault:
        raise DataError(fault)
    keys = records.keys[~np.isin(records.keys, others)]
    labels = np.fromiter((_label(records, int(key), num_classes) for key in keys), np.int64, len(keys))
    return Layout(keys, labels, indexed=False)


def holds_labels_alone(records: Records, key: int) -> bool:
    """Return whether a record is a header or an identity: labels without an image."""
    try:
        return records.read_header(key).flag > 0 and not records.unpack(key)[1]
    except DataError:  # it is named where it is read
        return False


def header_fault(records: Records, others: Sequence[int]) -> str:
    """Return what is wrong where an index has records without an image (`others`), and no key 0 that announces them."""
    if records.without_index or 0 in records or not others:
        return ''
    return (
        f'{records.idx_path} has no key 0, the header of identity records such as key {others[0]}; delete that file, '
        'and `facesymbols check-data --write-index` writes a new one'
    )


def _identities(records: Records, bounds: np.ndarray, num_classes: int) -> Layout:
    """Return keys and labels of the indexed layout; the first image of a range gives its label."""
    if len(bounds) != 2 or not 1 < bounds[0] <= bounds[1]:
        raise DataError(
            f'{records.where(0)} has the labels {bounds.tolist()} '
            'where the range of the identity records is wanted: first key, last key + 1'
        )
    identities = range(int(bounds[0]), int(bounds[1]))
    if len(identities) > num_classes:
        raise DataError(
            f'property says {num_classes} classes, and {records.path} has {len(identities)} identity records'
        )
    found = [_image_range(records, key, identities.start) for key in identities]
    ranges = np.array(found, np.int64).reshape(-1, 2)
    first, last = ranges.T
    _check_overlap(records, ranges, identities.start)
    own = np.array([_label(records, int(key), num_classes) for key in first], np.int64)
    values, counts = np.unique(own, return_counts=True)
    if len(values) < len(own):
        twice = np.flatnonzero(own == values[counts > 1][0])[:2] + identities.start
        raise DataError(
            f'{records.path}: the identity records {twice[0]} and {twice[1]} both hold images of label '
            f'{values[counts > 1][0]}; one label is one identity'
        )
    keys = np.concatenate([np.arange(a, b, dtype=np.int64) for a, b in ranges] or [np.zeros(0, np.int64)])
    missing = np.setdiff1d(keys, records.keys)
    if len(missing):
        raise DataError(
            f'{records.idx_path} has no key {missing[0]}, which an identity record counts as its image'
        )
    return Layout(keys, np.repeat(own, last - first), indexed=True)


def _image_range(records: Records, identity: int, end: int) -> Tuple[int, int]:
    """Return the range [first, last) of image keys, all in 1..end-1, that an identity record holds."""
    labels = records.read_header(identity).labels
    where = records.where(identity)
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


def _check_overlap(records: Records, ranges: np.ndarray, start: int) -> None:
    order = np.argsort(ranges[:, 0], kind='stable')
    crossing = np.flatnonzero(ranges[order[1:], 0] < ranges[order[:-1], 1])
    if len(crossing):
        one, other = sorted(int(start + order[crossing[0] + k]) for k in (0, 1))
        raise DataError(f'{records.path}: the identity records {one} and {other} share images')


def _label(records: Records, key: int, num_classes: int) -> int:
    label = float(records.read_header(key).labels[0])
    if not (0 <= label < num_classes and label == int(label)):
        raise DataError(
            f'{records.where(key)} has label {label:g}; '
            f'by the {num_classes} classes of property it must be 0 to {num_classes - 1}'
        )
    return int(label)
