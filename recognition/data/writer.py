"""Write training sets and verification sets that InsightFace, mxnet and this project read alike."""

from __future__ import annotations

import os
import pickle
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from config.errors import DataError
from recognition.data.class_names import FILE as CLASSES
from recognition.data.class_names import write_classes
from recognition.data.record_scan import FIRST, LAST, LENGTH_MASK, MAGIC, MAGIC_BYTES, MIDDLE, PART, WHOLE
from recognition.data.records import IMAGE_HEADER
from recognition.utils.files import PathLike, replacing

LARGEST_KEY = 1 << 24  # labels are float32, which counts no further
# in the order in which they are put in place: of classes, of every training set
CLASS_FILES = ('test.rec', 'test.idx', CLASSES)
SET_FILES = ('train.rec', 'train.idx', 'property')


def write_records(
    folder: PathLike,
    samples: Iterable[Tuple[bytes, int]],
    num_classes: Optional[int],
    image_shape: Sequence[int],
    *,
    test: Optional[Iterable[Tuple[bytes, int]]] = None,
    classes: Sequence[str] = (),
) -> int:
    """Write train.rec, train.idx and property in the indexed layout, and return the number of training images.

    samples: (encoded image, label), the labels 0, 0, 1, 1, 1, 2 ... num_classes-1 in ascending order and none
    left out.
    num_classes: the number of identities; None takes as many as there are in `samples`.
    image_shape: (H, W, ...) of all images, in pixels.
    test: samples of test.rec and test.idx, where labels may be left out. classes: names, written to classes.txt.

    Files appear when all are complete, `property` last; an older set stays whole until then. DataError for
    labels out of order, an identity without images, more than 2**24 records, or a folder that cannot be
    written to; then nothing is written.
    """
    folder = Path(folder)
    temporary = {name: folder / f'{name}.{os.getpid()}.tmp' for name in (*CLASS_FILES, *SET_FILES)}
    with _made_folder(folder), _removed(temporary.values()):
        for left in {path for name in temporary for path in folder.glob(f'{name}.*.tmp')} - {
            *temporary.values()
        }:
            with suppress(OSError):
                left.unlink()  # of a program that was killed
        count, known = _write_rec(temporary['train.rec'], temporary['train.idx'], samples, num_classes)
        with _named_faults(folder):
            temporary['property'].write_text(f'{known},{image_shape[0]},{image_shape[1]}\n')
        if test is not None:
            _write_rec(temporary['test.rec'], temporary['test.idx'], test, known, gaps=True)
        if classes:
            write_classes(temporary[CLASSES], classes)
        # without property, a mixture of an old and a new set is not taken for whole
        with _named_faults(folder):
            (folder / 'property').unlink(missing_ok=True)
            for name, path in temporary.items():
                if path.exists():
                    os.replace(path, folder / name)
                else:  # an older set's test images and names are not those of this one
                    (folder / name).unlink(missing_ok=True)
    return count


def write_pairs(path: PathLike, images: Iterable[bytes], issame: Iterable[object]) -> int:
    """Write a verification set (.bin) of encoded images, two for each pair, and return the number of pairs.

    images: encoded, in the order first, second of pair 0, first, second of pair 1 ...; issame: whether each
    pair shows one person. DataError where there are not two images for a pair; then nothing is written.
    """
    path = Path(path)
    encoded: List[bytes] = [bytes(image) for image in images]
    same: List[bool] = [bool(answer) for answer in issame]
    if len(encoded) != 2 * len(same) or not same:
        raise DataError(
            f'{path}: {len(encoded)} images for {len(same)} pairs; two images for each pair are wanted'
        )
    with _made_folder(path.parent), replacing(path) as temporary, temporary.open('wb') as file:
        # protocols 2 and below would write a call of a codec for each image
        pickle.dump((encoded, same), file, protocol=4)
    return len(same)


def _write_rec(
    rec: Path,
    idx: Path,
    samples: Iterable[Tuple[bytes, int]],
    num_classes: Optional[int],
    *,
    gaps: bool = False,
) -> Tuple[int, int]:
    """Write all records and return the numbers of images and identities; gaps: identities may have no image.

    The header (record 0) and the identities stand after the images, whose number is known by then only.
    """
    starts: List[int] = []  # the first key of each identity
    key, last = 1, -1
    with _named_faults(rec.parent):
        records, index = rec.open('wb'), idx.open('w', newline='\n')

    def put(key: int, content: bytes) -> None:
        with _named_faults(rec.parent):
            index.write(f'{key}\t{records.tell()}\n')
            _write_record(records, content)

    try:
        for encoded, label in samples:
            _check_label(rec.parent, label, last + 1 if not gaps else max(last + 1, label), num_classes)
            if label > last:
                starts.append(key)
                last = label
            put(key, IMAGE_HEADER.pack(0, label, key, 0) + encoded)
            key += 1
            if key + len(starts) > LARGEST_KEY:
                raise DataError(f'{rec.parent} would have more than {LARGEST_KEY} records; split the set')
        if gaps and not starts:
            raise DataError(f'{rec.parent}: there is no image to test')
        if not starts or (len(starts) < (num_classes or 0) and not gaps):
            raise DataError(f'{rec.parent}: identity {len(starts)} of {num_classes or "all"} has no image')
        put(0, _range_header(0, key, key + len(starts)))
        for identity, (first, end) in enumerate(zip(starts, [*starts[1:], key])):
            put(key + identity, _range_header(key + identity, first, end))
    finally:
        with _named_faults(rec.parent), index, records:
            pass  # both are closed, even where the disk is full for one
    return key - 1, len(starts)


def _range_header(key: int, first: int, end: int) -> bytes:
    """Return a record without an image, whose labels are keys of others, from the first one to the end."""
    return IMAGE_HEADER.pack(2, 0, key, 0) + np.array([first, end], '<f4').tobytes()


def _write_record(file: BinaryIO, content: bytes) -> None:
    """Write a record as dmlc-core's recordio.h does: cut where the magic number is inside, at a multiple of four."""
    if len(content) > LENGTH_MASK:
        raise OSError(f'a record of {len(content)} bytes is larger than one can be')
    parts, begin = [], 0
    found = content.find(MAGIC_BYTES)
    while found >= 0:
        if found % 4 == 0:
            parts.append(content[begin:found])
            begin = found + 4
        found = content.find(MAGIC_BYTES, max(found + 1, begin))
    parts.append(content[begin:])
    kinds = [FIRST, *[MIDDLE] * (len(parts) - 2), LAST] if len(parts) > 1 else [WHOLE]
    for kind, part in zip(kinds, parts):
        file.write(PART.pack(MAGIC, kind << 29 | len(part)) + part + bytes(-len(part) % 4))


@contextmanager
def _named_faults(folder: Path) -> Iterator[None]:
    """Turn a full disk and the like into a DataError that names the folder."""
    try:
        yield
    except OSError as error:
        raise DataError(f'cannot write to {folder}: {error.strerror or error}') from None


def _check_label(folder: Path, label: int, seen: int, num_classes: Optional[int]) -> None:
    """Let only the current identity go on (label seen - 1) or the next one begin (label seen)."""
    if label < 0 or (num_classes is not None and label >= num_classes):
        highest = '' if num_classes is None else f' to {num_classes - 1}'
        raise DataError(f'{folder}: an image has label {label}; whole numbers from 0{highest} are right')
    if label > seen:
        raise DataError(f'{folder}: identity {seen} has no image, and identity {label} has')
    if label < seen - 1:
        raise DataError(f'{folder}: identity {label} comes again after identity {seen - 1}; sort by label')


@contextmanager
def _made_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and on a fault take away again what was made."""
    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f'cannot make the folder {folder}: {error.strerror}') from None
        yield
    except BaseException:
        with suppress(OSError):
            for path in made:
                path.rmdir()
        raise


@contextmanager
def _removed(temporary: Iterable[Path]) -> Iterator[None]:
    """Remove temporary files that are left over at the end."""
    try:
        yield
    finally:
        for path in temporary:
            with suppress(FileNotFoundError):
                path.unlink()
