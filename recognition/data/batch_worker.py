"""The images of a batch, read, augmented and put into an array; in the training process or in one beside it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, wait
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Protocol, Tuple

import numpy as np

from config.errors import DataError
from recognition.data.images import load_cv2

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
ORDER, AUGMENT = range(2)  # streams of random numbers
_PARENT_CHECK = 1.0  # seconds
MOST_TRIED = 8  # images in a row: where none of so many can be read, more than images is damaged


class Faces(Protocol):
    """What a loader asks of a data set (`recognition.data.FaceDataset`)."""

    folder: Path
    image_shape: Tuple[int, int, int]
    labels: np.ndarray

    def __len__(self) -> int: ...

    def read(self, index: int) -> Tuple[np.ndarray, int]:
        """Return image `index`, uint8 (H, W, C), and its label."""


def generator(seed: int, epoch: int, stream: int, position: int = 0) -> np.random.Generator:
    """Return the random numbers that belong to one position of one epoch; no two of them overlap."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, position, stream]))


class Filled(NamedTuple):
    """The labels (n,) of a batch, float32, and what was wrong with images that others replace."""

    labels: np.ndarray
    faults: List[str]


class Filler(NamedTuple):
    """Decodes and augments the images of a batch into an array, others for those that cannot be read, if it may."""

    dataset: Faces
    augment: Optional[Augment]
    seed: int
    replaces: bool = False

    def fill(self, out: np.ndarray, epoch: int, position: int, indices: np.ndarray) -> Filled:
        """Write images `indices`, at `position` and after in the epoch, to `out` uint8 (n, C, H, W)."""
        faults: List[str] = []
        labels = np.empty(len(indices), np.float32)
        for row, index in enumerate(indices):
            image, labels[row] = self._read(int(index), faults)
            if self.augment is not None:
                image = self.augment(image, generator(self.seed, epoch, AUGMENT, position + row))
            out[row] = image.transpose(2, 0, 1)
        return Filled(labels, faults)

    def _read(self, index: int, faults: List[str]) -> Tuple[np.ndarray, int]:
        """Read an image, or the next one that can be read; note what could not."""
        for offset in range(MOST_TRIED):
            try:
                return self.dataset.read((index + offset) % len(self.dataset))
            except DataError as error:
                if not self.replaces:
                    raise
                faults.append(str(error))
        raise DataError(f'{faults[-1]}, nor can the {MOST_TRIED - 1} images before it')


def start_pool(workers: int, filler: Filler, slots: np.ndarray) -> ProcessPoolExecutor:
    """Start all workers now, whose task is `fill_slot`; they inherit the data set and the slots by fork.

    slots: uint8 (K, N, C, H, W), in memory that a fork shares.
    """
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context('fork'),
        initializer=_start_worker,
        initargs=(filler, slots, os.getpid()),
    )
    # A signal before a worker can tell whom it is for would end it: hold both back until then.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        ready = [pool.submit(os.getpid) for _ in range(workers)]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    wait(ready)
    return pool


_worker: Tuple[Filler, np.ndarray]  # set once in each worker: an executor's tasks can reach no other state


def _start_worker(filler: Filler, slots: np.ndarray, parent: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends the workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # SIGTERM is left to _end_with
    load_cv2().setNumThreads(0)  # the workers share the cores already
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _worker = (filler, slots)


def _end_with(parent: int) -> None:
    """End this worker when its parent says so by SIGTERM, or has been killed: nobody would give it work or end it.

    A SIGTERM from elsewhere is one to a whole group of processes, of which the parent makes an orderly end: it may
    still want batches.
    """
    while os.getppid() == parent:
        told = signal.sigtimedwait({signal.SIGTERM}, _PARENT_CHECK)
        if told and told.si_pid == parent:
            break
    os._exit(1)


def fill_slot(slot: int, epoch: int, position: int, indices: np.ndarray) -> Filled:
    """Write images `indices` to a slot, in a worker; the rest as `Filler.fill` has it."""
    filler, slots = _worker
    return filler.fill(slots[slot], epoch, position, indices)
