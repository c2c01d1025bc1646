"""The identity records of an indexed record file: record 0 says where they are, and each names a range of images."""

from __future__ import annotations

from collections import defaultdict
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from config.errors import DataError, first_few
from recognition.data.record_layout import header_fault, holds_labels_alone
from recognition.data.records import Records
from recognition.data.validation.report import ValidationReport


def _bounds(records: Records) -> Optional[Tuple[int, int]]:
    """Return the range [first, last) of the identity records' keys, or None where record 0 does not say it."""
    if 0 not in records or records.without_index:
        return None
    header, image = records.unpack(0)
    if not header.flag or image:
        return None
    labels = header.labels
    if len(labels) != 2 or not np.isfinite(labels).all() or not 1 < labels[0] <= labels[1]:
        return 0, 0
    return int(labels[0]), int(labels[1])


def image_keys(records: Records) -> List[int]:
    """Return the keys of all records that should be images."""
    bounds = _bounds(records)
    keys = sorted(int(key) for key in records.keys)
    if bounds and bounds[1]:
        return [key for key in keys if 0 < key < bounds[0]]
    return [key for key in keys if not holds_labels_alone(records, key)]


def check_identities(records: Records, labels: Mapping[int, float], faults: ValidationReport) -> None:
    """Note identity records that are missing or malformed, and ranges that overlap, leave gaps or mix labels.

    labels: of the images, by key; NaN where one cannot be read. A file without identity records is right.
    """
    bounds = _bounds(records)
    if bounds is None:
        others = [
            int(key) for key in records.keys if key not in labels and holds_labels_alone(records, int(key))
        ]
        fault = header_fault(records, others)
        if fault:
            faults.add('identity', fault)
        return
    if not bounds[1]:
        header = records.unpack(0)[0]
        faults.add(
            'identity',
            f'{records.where(0)} has the labels {header.labels.tolist()} where the range of the identity records is '
            'wanted: first key, last key + 1',
        )
        return
    owner = _owners(records, bounds, faults)
    for key in labels:
        if key not in owner:
            faults.add('identity', f'{records.where(key)} is in the range of no identity record')
    pairs = [(owner[key], label) for key, label in labels.items() if key in owner and not np.isnan(label)]
    _check_mixed(records, list(dict.fromkeys(pairs)), faults)


def _owners(records: Records, bounds: Tuple[int, int], faults: ValidationReport) -> Dict[int, int]:
    """Return the identity record of each image key, the first one where there are several."""
    owner: Dict[int, int] = {}
    for identity in range(*bounds):
        for key in _range_of(records, identity, bounds[0], faults):
            if key in owner:
                faults.add(
                    'identity',
                    f'{records.path}: image {key} is in the identity records {owner[key]} and {identity}',
                )
            elif key not in records:
                faults.add(
                    'lost', f'{records.path}: identity record {identity} counts image {key}, which is missing'
                )
            owner.setdefault(key, identity)
    return owner


def _check_mixed(records: Records, pairs: Sequence[Tuple[int, float]], faults: ValidationReport) -> None:
    """Note labels in several identity records and identity records of several labels; `pairs` is what there is."""
    identities: Dict[float, List[int]] = defaultdict(list)
    labels: Dict[int, List[float]] = defaultdict(list)
    for identity, label in pairs:
        identities[label].append(identity)
        labels[identity].append(label)
    for label, holders in identities.items():
        if len(holders) > 1:
            faults.add(
                'identity', f'{records.path}: label {label:g} is in the identity records {listed(holders)}'
            )
    for identity, held in sorted(labels.items()):
        if len(held) > 1:
            faults.add(
                'identity',
                f'{records.path}: identity record {identity} holds images of the labels {listed(held)}',
            )


def _range_of(records: Records, identity: int, end: int, faults: ValidationReport) -> range:
    """Return the image keys of an identity record; none where it does not name them rightly."""
    if identity not in records:
        faults.add('lost', f'{records.path}: identity record {identity} is missing')
        return range(0)
    where = records.where(identity)
    try:
        labels = records.read_header(identity).labels
    except DataError as error:
        faults.add('identity', str(error))
        return range(0)
    if len(labels) != 2 or not np.isfinite(labels).all():
        faults.add('identity', f'{where} should have the labels [first, last) and has {labels.tolist()}')
        return range(0)
    first, last = int(labels[0]), int(labels[1])
    if not 1 <= first < last <= end:
        what = 'is empty' if first == last else f'is not within the image keys 1 to {end - 1}'
        faults.add('identity', f'{where} has the range [{first}, {last}), which {what}')
        return range(0)
    return range(first, last)


def listed(values: Sequence[object], most: int = 5) -> str:
    """Return the values with commas, the first few of many."""
    return first_few((f'{value:g}' if isinstance(value, float) else value for value in values), most)
