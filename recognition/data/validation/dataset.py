"""Look for everything that is wrong with a data set, in one pass over it."""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from config.errors import DataError
from recognition.data.class_names import FILE as CLASSES
from recognition.data.class_names import read_classes
from recognition.data.dataset import index_of, read_property, record_files, size_text
from recognition.data.images import decode_image, load_cv2
from recognition.data.pair_sets import read_pairs
from recognition.data.records import Records
from recognition.data.validation.identities import check_identities, image_keys, listed
from recognition.data.validation.index import open_whole
from recognition.data.validation.report import ValidationReport
from recognition.utils.files import PathLike
from recognition.utils.processes import decoding_processes

TEST = 'test.rec'
CHUNK = 64  # images that a process looks at before it reports
Show = Callable[[Iterable['Seen'], int], Iterable['Seen']]


class Seen(NamedTuple):
    """What one record showed: the label of its header, a hash of its pixels (b'' where there are none), a fault."""

    key: int
    label: float
    digest: bytes
    kind: str = ''
    fault: str = ''


class Checked(NamedTuple):
    """What a check came to."""

    faults: ValidationReport
    images: int
    identities: int
    pairs: Dict[str, int]
    test: int = 0  # images


class Looker(NamedTuple):
    """Reads and decodes records, in any process."""

    records: Records
    image_shape: Optional[Tuple[int, int, int]]

    def look(self, key: int) -> Seen:
        """Return what record `key` holds."""
        label, where = float('nan'), self.records.where(key)
        try:
            header, encoded = self.records.unpack(key)
            label = float(header.labels[0])
            image = decode_image(encoded, where)
        except DataError as error:
            return Seen(key, label, b'', 'image', str(error))
        digest = digest_of(image)
        if self.image_shape and image.shape != self.image_shape:
            own, wanted = size_text(image.shape), size_text(self.image_shape)
            text = f'{where} is an image of {own} pixels, and property says {wanted}'
            return Seen(key, label, digest, 'size', text)
        return Seen(key, label, digest)


def digest_of(image: np.ndarray) -> bytes:
    """Return 16 bytes that stand for the pixels and the shape of an image."""
    return hashlib.blake2b(image.tobytes(), digest_size=16, key=repr(image.shape).encode()).digest()


def check_data(folder: PathLike, *, workers: int = 1, show: Optional[Show] = None) -> Checked:
    """Check a training set with test.rec, classes.txt and every .bin in its folder: whatever is wrong, a sentence each.

    workers: processes that decode; 0 decodes here. show: `(images, count) -> images`, a progress bar say.
    DataError where there is nothing to check: no folder, no record file, or one that cannot be opened.
    """
    load_cv2()  # here, where its absence is one sentence
    folder = Path(folder)
    faults, copies = ValidationReport(), _Copies()
    paths = record_files(folder, needs_property=False)
    classes, shape = _property(folder, faults)
    labels: List[np.ndarray] = []
    count = 0

    def look(path: Path) -> Tuple[Records, List[Seen]]:
        records = open_whole(path, index_of(path), faults)
        return records, list(_look(Looker(records, shape), image_keys(records), workers, show))

    for path in paths:
        records, seen = look(path)
        count += len(seen)
        labels.append(_check_part(records, seen, classes, faults))
        copies.take(records, seen)
    present = np.unique(np.concatenate(labels))
    _check_classes(folder, classes, present, faults)
    copies.report(faults)
    tests = 0
    if (folder / TEST).is_file():
        records, seen = look(folder / TEST)
        tests = len(seen)
        _check_part(records, seen, classes, faults)
        copies.compare(records, seen, faults)
    pairs = {path.stem: _check_pairs(path, shape, copies, faults) for path in sorted(folder.glob('*.bin'))}
    return Checked(faults, count, len(present), pairs, tests)


def _property(folder: Path, faults: ValidationReport) -> Tuple[Optional[int], Optional[Tuple[int, int, int]]]:
    try:
        return read_property(folder / 'property')
    except DataError as error:
        faults.add('property', str(error))
        return None, None


def _look(looker: Looker, keys: Sequence[int], workers: int, show: Optional[Show]) -> Iterator[Seen]:
    with ExitStack() as stack:
        seen: Iterable[Seen] = map(looker.look, keys)
        workers = decoding_processes(workers)
        if workers:
            fork = multiprocessing.get_context('fork')
            pool = ProcessPoolExecutor(workers, fork, initializer=_start_worker, initargs=(looker,))
            stack.callback(pool.shutdown, cancel_futures=True)
            seen = pool.map(_work, keys, chunksize=CHUNK)
        try:
            yield from show(seen, len(keys)) if show else seen
        except BrokenProcessPool:
            raise DataError(
                f'a process that decodes the images of {looker.records.path} was killed, perhaps for want of memory; '
                'try again with fewer workers'
            ) from None


_looker: Looker  # set once in each worker, which inherits the record file by fork


def _start_worker(looker: Looker) -> None:
    global _looker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends the workers
    load_cv2().setNumThreads(0)
    _looker = looker


def _work(key: int) -> Seen:
    return _looker.look(key)


def _check_part(
    records: Records, seen: Sequence[Seen], classes: Optional[int], faults: ValidationReport
) -> np.ndarray:
    """Note the faults of a file's images and identities; return the labels that are right, int64."""
    for each in seen:
        if each.fault:
            faults.add(each.kind, each.fault)
    right = []
    last = '' if classes is None else f' to {classes - 1}'
    for key, label in ((each.key, each.label) for each in seen if not (np.isnan(each.label) and each.fault)):
        if 0 <= label < (np.inf if classes is None else classes) and label == np.floor(label):
            right.append(int(label))
        else:
            faults.add(
                'label', f'{records.where(key)} has label {label:g}; whole numbers from 0{last} are right'
            )
    check_identities(records, {each.key: each.label for each in seen}, faults)
    return np.array(right, np.int64)


def _check_classes(
    folder: Path, classes: Optional[int], present: np.ndarray, faults: ValidationReport
) -> None:
    if (folder / CLASSES).exists():
        try:
            read_classes(folder / CLASSES, classes or 0)
        except DataError as error:
            faults.add('property', str(error))
    if classes is None:
        return
    absent = np.setdiff1d(np.arange(classes), present)
    if len(absent):
        faults.add(
            'label',
            f'{folder / "property"} says {classes} classes, and {len(absent)} of them have no image: '
            f'{listed(absent.tolist())}',
        )


class _Copies:
    """Where each image stands, by the hash of its pixels."""

    def __init__(self) -> None:
        self._places: Dict[bytes, List[Tuple[str, float]]] = defaultdict(list)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    def take(self, records: Records, seen: Iterable[Seen]) -> None:
        for each in seen:
            if each.digest:
                self._places[each.digest].append((f'{records.path.name} record {each.key}', each.label))

    def first(self, digest: bytes) -> str:
        place, label = self._places[digest][0]
        return f'{place} (label {label:g})'

    def compare(self, records: Records, seen: Iterable[Seen], faults: ValidationReport) -> None:
        """Note images of a test set that are trained on."""
        for each in seen:
            if each.digest in self:
                words = f'{records.where(each.key)} is the same as {self.first(each.digest)}'
                faults.add('shared', words)

    def report(self, faults: ValidationReport) -> None:
        """Note images that stand more than once, in one identity or in several."""
        for places in self._places.values():
            if len(places) < 2:
                continue
            labels = {label for _, label in places}
            words = listed([f'{place} (label {label:g})' for place, label in places])
            faults.add('duplicate' if len(labels) == 1 else 'conflict', f'the same image: {words}')


def _check_pairs(
    path: Path, shape: Optional[Tuple[int, int, int]], copies: _Copies, faults: ValidationReport
) -> int:
    """Note what is wrong with a verification set, and its images that are trained on; return its pairs."""
    try:
        encoded, same = read_pairs(path)
    except DataError as error:
        faults.add('pairs', str(error))
        return 0
    digests: List[bytes] = []
    told = set()
    for number, content in enumerate(encoded):
        where = f'{path}: image {number}'
        try:
            image = decode_image(content, where)
        except DataError as error:
            faults.add('pairs', str(error))
            digests.append(b'')
            continue
        digests.append(digest_of(image))
        if shape and image.shape != shape:
            faults.add(
                'pairs',
                f'{where} is of {size_text(image.shape)} pixels, and property says {size_text(shape)}',
            )
        if digests[-1] in copies and digests[-1] not in told:
            told.add(digests[-1])
            faults.add('shared', f'{where} is the same as {copies.first(digests[-1])}')
    for pair, answer in enumerate(same):
        first, second = digests[2 * pair : 2 * pair + 2]
        if first and first == second:
            end = '' if answer else ', and is said to show two people'
            faults.add('pairs', f'{path}: pair {pair} is one image twice{end}')
    if same.all() or not same.any():
        faults.add('pairs', f'{path}: all pairs have the same answer')
    return len(same)
