"""Images read a second: our loader beside mxnet's iterator and a reader in the way of InsightFace's."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import numpy as np

from recognition.data.augment import Augmentation
from recognition.data.dataset import FaceDataset, FaceLoader
from recognition.data.images import JPEG, encode_image
from recognition.data.orl import SIZE, load_photographs
from recognition.data.records import Records
from recognition.data.writer import write_records
from tools.bench.rounds import Row, interleaved

import mxnet as mx

BATCH = 128
COPIES = 25  # of each photograph
FIGURE = 'images/s'


def measure(rounds: int, *, images: int = 5120, told: Callable[[str], None] = print) -> List[Row]:
    """Read `images` faces of 112x112 (JPEG, quality 95, mirrored at random) with each reader in every round.

    ConfigError, DataError and MissingExtra as the ORL photographs' and the loader's.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        told('writing the faces')
        write_faces(Path(folder))
        dataset = FaceDataset(folder)
        readers: Dict[str, Callable[[], Iterator[Any]]] = {}
        for workers in (2, 1, 0):
            loader = FaceLoader(dataset, BATCH, Augmentation(), workers=workers)
            stack.callback(loader.close)
            readers[f'FaceLoader, {workers} workers'] = _endless(loader)
        colours = Augmentation(
            crop=0.2, brightness=0.2, contrast=0.2, saturation=0.2, grey=0.1, blur=0.1, jpeg=0.1, cutout=40
        )
        full = FaceLoader(dataset, BATCH, colours, workers=2)
        stack.callback(full.close)
        readers['FaceLoader, 2 workers, every augmentation'] = _endless(full)
        readers['mx.io.ImageRecordIter, 2 threads'] = lambda: record_iter(Path(folder))
        readers['mx.image, image by image'] = lambda: one_by_one(Path(folder))
        contenders = {name: _timed(reader, images // BATCH) for name, reader in readers.items()}
        return interleaved(contenders, rounds, told=told)


def write_faces(folder: Path) -> None:
    """Write the ORL photographs as JPEG, each many times with a little noise, and the images alone as flat.rec."""
    rng = np.random.default_rng(0)
    faces = load_photographs()

    def samples() -> Iterator[Any]:
        for label, photographs in enumerate(faces):
            for photograph in np.repeat(photographs, COPIES, axis=0):
                noise = rng.integers(-4, 5, (SIZE, SIZE, 3))
                image = np.clip(photograph[..., None] + noise, 0, 255).astype(np.uint8)
                yield encode_image(image, JPEG, quality=95), label

    count = write_records(folder, samples(), len(faces), (SIZE, SIZE, 3))
    whole = Records(folder / 'train.rec', folder / 'train.idx')
    flat = mx.recordio.MXIndexedRecordIO(str(folder / 'flat.idx'), str(folder / 'flat.rec'), 'w')
    for key in range(1, count + 1):
        flat.write_idx(key, whole.read(key))
    flat.close()


def record_iter(folder: Path) -> Iterator[Any]:
    """Read with mxnet's own iterator, which is written in C++, and has no way to pass over identity records."""
    reader = mx.io.ImageRecordIter(
        path_imgrec=str(folder / 'flat.rec'),
        path_imgidx=str(folder / 'flat.idx'),
        data_shape=(3, SIZE, SIZE),
        batch_size=BATCH,
        shuffle=True,
        rand_mirror=True,
        preprocess_threads=2,
        verbose=False,
    )
    for batch in reader:
        batch.data[0].wait_to_read()
        yield batch


def one_by_one(folder: Path) -> Iterator[Any]:
    """Read as InsightFace's FaceImageIter does: a record, its image as an NDArray, and a copy into the batch."""
    reader = mx.recordio.MXIndexedRecordIO(str(folder / 'train.idx'), str(folder / 'train.rec'), 'r')
    first = int(mx.recordio.unpack(reader.read_idx(0))[0].label[0])
    keys = list(range(1, first))
    random.shuffle(keys)
    data, labels = mx.nd.empty((BATCH, 3, SIZE, SIZE)), mx.nd.empty((BATCH,))
    for start in range(0, len(keys) - BATCH + 1, BATCH):
        for row, key in enumerate(keys[start : start + BATCH]):
            header, encoded = mx.recordio.unpack(reader.read_idx(key))
            image = mx.image.imdecode(encoded)
            if random.random() < 0.5:
                image = mx.nd.flip(image, axis=1)
            data[row][:] = mx.nd.transpose(image, axes=(2, 0, 1))
            labels[row][:] = header.label
        data.wait_to_read()
        yield data, labels


def _endless(loader: FaceLoader) -> Callable[[], Iterator[Any]]:
    return lambda: loader.epoch(0)


def _timed(reader: Callable[[], Iterator[Any]], batches: int) -> Callable[[], Dict[str, float]]:
    """Return a contender that reads so many batches after the first, with which a reader starts up."""

    def contender() -> Dict[str, float]:
        stream = reader()
        next(stream)
        begin = time.perf_counter()
        for _ in range(batches):
            next(stream)
        return {FIGURE: batches * BATCH / (time.perf_counter() - begin)}

    return contender
