"""What is wrong between a record file and its index: damaged records, lost ones, and lines that lead nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import numpy as np

from config.errors import DataError
from config.reading import read_bytes
from recognition.data.record_scan import scan
from recognition.data.records import Records
from recognition.data.validation.report import ValidationReport


def open_whole(path: Path, index: Optional[Path], faults: ValidationReport) -> Records:
    """Return the records of a file that can be reached and are whole, and note every other."""
    starts: List[int] = []
    for found in scan(path):
        if found.fault:
            faults.add('record', f'{path}, offset {found.offset}: {found.fault}')
        else:
            starts.append(found.offset)
    offsets = np.array(starts, np.int64)
    if index is None:
        return Records(path, None, index=(np.arange(len(offsets)), offsets))
    entries = _entries(index, faults)
    whole = set(starts)
    kept = {key: offset for key, offset in entries.items() if offset in whole}
    for key, offset in entries.items():
        if offset not in whole:
            faults.add(
                'index',
                f'{index}: key {key} leads to offset {offset} of {path}, where no whole record begins',
            )
    for offset in sorted(whole.difference(entries.values())):
        faults.add('lost', f'{path}, offset {offset}: a record that {index.name} does not list')
    arrays = np.array(list(kept), np.int64), np.array(list(kept.values()), np.int64)
    return Records(path, index, index=arrays)


def _entries(index: Path, faults: ValidationReport) -> Dict[int, int]:
    """Return offset by key of the lines of an index that can be read; of a key that stands twice the first."""
    entries: Dict[int, int] = {}
    for number, key, offset in _lines(index, faults):
        if key in entries:
            faults.add('index', f'{index}, line {number}: key {key} stands twice')
        else:
            entries[key] = offset
    return entries


def _lines(index: Path, faults: ValidationReport) -> Iterator[Tuple[int, int, int]]:
    for number, line in enumerate(read_bytes(index, DataError).splitlines(), 1):
        fields = line.split(b'\t')
        if len(fields) == 2 and all(field.isdigit() and len(field) < 19 for field in fields):
            yield number, int(fields[0]), int(fields[1])
        else:
            faults.add('index', f'{index}, line {number} is {line[:40]!r} where key<TAB>offset is wanted')
