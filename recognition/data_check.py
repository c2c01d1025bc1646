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

from config.errors import DataError, first_few
from recognition.data import PathLike, index_of, read_property, record_files, size_text
from recognition.faults import Faults
from recognition.images import decode_image, load_cv2
from recognition.index_check import open_whole
from recognition.pairs import read_pairs
from recognition.records import Records

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

    faults: Faults
    images: int
    identities: int
    pairs: Dict[str, int]


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
    """Check a training set with every .bin in its folder: whatever is wrong, each a sentence, without stopping.

    workers: processes that decode; 0 decodes here. show: `(images, count) -> images`, a progress bar say.
    DataError where there is nothing to check: no folder, no record file, or one that cannot be opened.
    """
    folder = Path(folder)
    faults, copies = Faults(), _Copies()
    paths = record_files(folder, needs_property=False)
    classes, shape = _property(folder, faults)
    labels: List[np.ndarray] = []
    count = 0
    for path in paths:
        records = open_whole(path, index_of(path), faults)
        seen = list(_look(Looker(records, shape), _image_keys(records), workers, show))
        count += len(seen)
        labels.append(_check_part(records, seen, classes, faults))
        copies.take(records, seen)
    present = np.unique(np.concatenate(labels))
    _check_classes(folder, classes, present, faults)
    copies.report(faults)
    pairs = {path.stem: _check_pairs(path, shape, copies, faults) for path in sorted(folder.glob('*.bin'))}
    return Checked(faults, count, len(present), pairs)


def _property(folder: Path, faults: Faults) -> Tuple[Optional[int], Optional[Tuple[int, int, int]]]:
    try:
        return read_property(folder / 'property')
    except DataError as error:
        faults.add('property', str(error))
        return None, None


def _look(looker: Looker, keys: Sequence[int], workers: int, show: Optional[Show]) -> Iterator[Seen]:
    with ExitStack() as stack:
        seen: Iterable[Seen] = map(looker.look, keys)
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


def _image_keys(records: Records) -> List[int]:
    """Return the keys of all records that should be images."""
    bounds = _bounds(records)
    keys = sorted(int(key) for key in records.keys)
    if bounds and bounds[1]:
        return [key for key in keys if 0 < key < bounds[0]]
    return [key for key in keys if not _holds_labels_alone(records, key)]


def _holds_labels_alone(records: Records, key: int) -> bool:
    try:
        return records.read_header(key).flag > 0 and not records.unpack(key)[1]
    except DataError:
        return False


def _check_part(records: Records, seen: Sequence[Seen], classes: Optional[int], faults: Faults) -> np.ndarray:
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
    bounds = _bounds(records)
    if bounds:
        _check_identities(records, bounds, {each.key: each.label for each in seen}, faults)
    return np.array(right, np.int64)


def _check_identities(
    records: Records, bounds: Tuple[int, int], labels: Dict[int, float], faults: Faults
) -> None:
    """Note identity records that are missing or malformed, and ranges that overlap, leave gaps or mix labels."""
    if not bounds[1]:
        header = records.unpack(0)[0]
        faults.add(
            'identity',
            f'{records.where(0)} has the labels {header.labels.tolist()} where the range of the identity records is '
            'wanted: first key, last key + 1',
        )
        return
    owner: Dict[int, int] = {}
    holders: Dict[float, List[int]] = defaultdict(list)
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
    for key, label in labels.items():
        if key not in owner:
            faults.add('identity', f'{records.where(key)} is in the range of no identity record')
        elif not np.isnan(label) and owner[key] not in holders[label]:
            holders[label].append(owner[key])
    held: Dict[int, List[float]] = defaultdict(list)
    for label, identities in holders.items():
        if len(identities) > 1:
            faults.add(
                'identity',
                f'{records.path}: label {label:g} is in the identity records {_listed(identities)}',
            )
        for identity in identities:
            held[identity].append(label)
    for identity, own in sorted(held.items()):
        if len(own) > 1:
            faults.add(
                'identity',
                f'{records.path}: identity record {identity} holds images of the labels {_listed(own)}',
            )


def _range_of(records: Records, identity: int, end: int, faults: Faults) -> range:
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


def _check_classes(folder: Path, classes: Optional[int], present: np.ndarray, faults: Faults) -> None:
    if classes is None:
        return
    absent = np.setdiff1d(np.arange(classes), present)
    if len(absent):
        faults.add(
            'label',
            f'{folder / "property"} says {classes} classes, and {len(absent)} of them have no image: '
            f'{_listed(absent.tolist())}',
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

    def report(self, faults: Faults) -> None:
        """Note images that stand more than once, in one identity or in several."""
        for places in self._places.values():
            if len(places) < 2:
                continue
            labels = {label for _, label in places}
            words = _listed([f'{place} (label {label:g})' for place, label in places])
            faults.add('duplicate' if len(labels) == 1 else 'conflict', f'the same image: {words}')


def _check_pairs(path: Path, shape: Optional[Tuple[int, int, int]], copies: _Copies, faults: Faults) -> int:
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


def _listed(values: Sequence[object], most: int = 5) -> str:
    """Return the values with commas, the first few of many."""
    return first_few((f'{value:g}' if isinstance(value, float) else value for value in values), most)
