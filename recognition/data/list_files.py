"""Lists of images as text: InsightFace's and im2rec's .lst files of people, and lists of pairs."""

from __future__ import annotations

import codecs
import logging
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

from config.errors import DataError
from config.reading import read_bytes
from recognition.data.packing import Person

log = logging.getLogger('pack')

ALIGNED = 'aligned<TAB>path<TAB>label'
IM2REC = 'index<TAB>label<TAB>path'
SHOWN = 60  # characters of a line
LABEL = re.compile(r'[0-9]+')
LARGEST_LABEL = 1 << 24  # a label is a float32, which counts no further


class Entry(NamedTuple):
    """An image of a list: the path as it is written, and its label."""

    path: str
    label: int


def listed_people(path: Path) -> List[Person]:
    """Return the people of a .lst file in order of label; labels without a line are one person without images.

    Its lines are InsightFace's, or those of MXNet's im2rec, of whose labels the first is the person. Paths are relative
    to the list's folder. Raises DataError for a line of another form.
    """
    lines = [(number, line, line.split('\t')) for number, line in read_lines(path)]
    if not lines:
        raise DataError(f'{path} lists no images; lines {ALIGNED} or {IM2REC} are expected')
    first = lines[0][2]
    read = _im2rec if _is_im2rec(first) else _aligned
    if read is _im2rec and len(first) > len(IM2REC.split('<TAB>')):
        log.info(f'{path} has {len(first) - 2} labels in a line; the first is taken as the person')
    images: Dict[int, List[Path]] = {}
    for number, line, fields in lines:
        entry = read(fields, f'{path}, line {number}', line)
        images.setdefault(entry.label, []).append(path.parent / entry.path)
    people, after = [], 0
    for label in sorted(images):
        if label > after:
            gap = f'label {after}' if label == after + 1 else f'each of the labels {after} to {label - 1}'
            people.append(Person(f'{path}: {gap}', []))
        people.append(Person(f'{path}: label {label}', images[label]))
        after = label + 1
    return people


def _is_im2rec(fields: Sequence[str]) -> bool:
    *numbers, path = fields
    return len(numbers) > 1 and all(map(_is_number, numbers)) and not _is_number(path)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _aligned(fields: Sequence[str], where: str, line: str) -> Entry:
    if len(fields) < 3 or fields[0] not in ('0', '1') or not LABEL.fullmatch(fields[2]):
        hint = f', or {IM2REC} in all lines'
        if len(fields) == 1 and len(line.split()) > 1:
            hint = '; it has spaces in place of tabs'
        raise DataError(f'{where} is {line[:SHOWN]!r} where {ALIGNED} is expected{hint}')
    if fields[0] == '0':
        raise DataError(f'{where}: {fields[1]} is marked as not aligned; align the faces first')
    return Entry(fields[1], _label(fields[2], where))


def _im2rec(fields: Sequence[str], where: str, line: str) -> Entry:
    if not _is_im2rec(fields):
        raise DataError(f'{where} is {line[:SHOWN]!r} where {IM2REC} is expected, as in the first line')
    return Entry(fields[-1], _label(fields[1], where))


def _label(text: str, where: str) -> int:
    label = float(text)
    if not 0 <= label < LARGEST_LABEL or label != int(label):
        raise DataError(
            f'{where} has the label {text[:SHOWN]}; labels are whole numbers from 0 to {LARGEST_LABEL - 1}'
        )
    return int(label)


def listed_pairs(path: Path) -> List[Tuple[Path, Path, bool]]:
    """Return (first, second, same) for the lines `first second 0|1`; tabs where a path holds spaces."""
    pairs = []
    for number, line in read_lines(path):
        fields = line.split('\t') if '\t' in line else line.split()
        if len(fields) != 3 or fields[2] not in ('0', '1'):
            hint = '; a path with spaces needs tabs between the fields' if len(fields) > 3 else ''
            raise DataError(
                f'{path}, line {number} is {line[:SHOWN]!r} where `first second 0|1` is expected{hint}'
            )
        pairs.append((path.parent / fields[0], path.parent / fields[1], fields[2] == '1'))
    return pairs


def read_lines(path: Path) -> List[Tuple[int, str]]:
    """Return the lines of a text file that are not blank, with their numbers from 1.

    Names of files may be in any encoding, as the files' own names may.
    """
    held = read_bytes(path, DataError)
    if held.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f'{path} is text in UTF-16; save it as UTF-8')
    lines = held.decode('utf-8-sig', errors='surrogateescape').split('\n')
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
