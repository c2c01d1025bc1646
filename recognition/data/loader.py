"""Batches of training faces, decoded and augmented in worker processes.

Order and augmentation follow from (seed, epoch, position in the epoch) alone, so any number of workers gives
the same batches, and an epoch that was broken off goes on at any batch as if nothing had happened.

A worker writes pixels straight into memory that it shares with the caller (`batch_worker`).
"""

from __future__ import annotations

import contextlib
import logging
import mmap
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from types import TracebackType
from typing import Deque, Iterator, List, Optional, Sequence, Tuple, Type

import numpy as np

from config.errors import ConfigError, DataError
from recognition.data.batch_worker import (
    AUGMENT,
    ORDER,
    Augment,
    Faces,
    Filled,
    Filler,
    fill_slot,
    generator,
    start_pool,
)
from recognition.data.images import load_cv2
from recognition.data.sampler import SAMPLERS
from recognition.utils.processes import decoding_processes

logger = logging.getLogger(__name__)

Batch = Tuple[np.ndarray, np.ndarray]


class FaceLoader:
    """Endless epochs of shuffled batches: uint8 images (N, C, H, W), grey or RGB, in C order and float32 labels (N,).

    dataset: a FaceDataset.
    batch_size: images in a batch; the images left over at the end of an epoch are dropped.
    augment: `(image uint8 (H, W, C), rng) -> image`, an Augmentation for instance; None leaves images as they
    are.
    workers: processes that decode, started here; 0 decodes in this process.
    prefetch: batches decoded ahead; twice the workers where it is None.
    faults: how many images that cannot be read are replaced by others, and counted in `faults`, before it is an error.
    sampler: the order of an epoch (recognition.data.sampler); per_identity: images of one identity side by side in the
    balanced one.

    One epoch at a time. Close it, or use it in a `with` block, to end the workers. ConfigError for a size
    that gives no batch; DataError, from a worker too, for an image that cannot be read, and where a worker
    was killed.
    """

    def __init__(
        self,
        dataset: Faces,
        batch_size: int,
        augment: Optional[Augment] = None,
        seed: int = 0,
        workers: int = 1,
        *,
        prefetch: Optional[int] = None,
        faults: int = 0,
        sampler: str = 'shuffle',
        per_identity: int = 1,
    ) -> None:
        depth = max(2, 2 * workers) if prefetch is None else prefetch
        _check_lowest(
            batch_size=(batch_size, 1),
            workers=(workers, 0),
            seed=(seed, 0),
            prefetch=(depth, 1),
            images_per_identity=(per_identity, 1),
            data_faults=(faults, 0),
        )
        _check_batch(dataset, batch_size, sampler, per_identity)
        load_cv2()  # where it is missing, say so here and not in a worker
        self.dataset, self.batch_size, self._seed = dataset, batch_size, seed
        self._sample = partial(SAMPLERS[sampler], dataset.labels, per_identity)
        self._order = lru_cache(maxsize=2)(self._draw_order)
        self._length = len(self._order(0))  # of every epoch
        self.share(0, 1)
        self._filler = Filler(dataset, augment, seed, replaces=faults > 0)
        self.most_faults, self.faults = faults, 0
        self._pending: Deque[Tuple[int, Future]] = deque()  # (batch, its work), oldest first
        self._turn: Optional[object] = None  # the epoch that may read
        self._pool: Optional[ProcessPoolExecutor] = None
        self._closed = False
        workers = decoding_processes(workers)
        if workers:
            self._slots = _shared((depth, *self._batch_shape))
            self._pool = start_pool(workers, self._filler, self._slots)

    def __enter__(self) -> FaceLoader:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def share(self, rank: int, ranks: int) -> None:
        """Read the share of worker `rank` of `ranks` that train together: its part of each of their common batches.

        Two with batches of N then train on what one with batches of 2 N does, in the same order. ConfigError where
        the images do not suffice for a common batch.
        """
        self._rank, self._ranks = rank, ranks
        self.batches_per_epoch = self._length // (self.batch_size * ranks)
        if not self.batches_per_epoch:
            raise ConfigError(
                f'{ranks} batches of {self.batch_size} images are more than the {len(self.dataset)} images of '
                f'{self.dataset.folder}; take smaller batches or fewer workers'
            )

    def close(self) -> None:
        """End the workers and wait until they are gone; a second call does nothing."""
        self._closed = True
        self._turn = None
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch, from batch `start` on; an epoch begun before can then not go on."""
        if epoch < 0 or not 0 <= start <= self.batches_per_epoch:
            raise ConfigError(
                f'epoch {epoch}, batch {start} is out of range; an epoch (0, 1, ...) has the batches 0 to '
                f'{self.batches_per_epoch - 1}'
            )
        self._check_open()
        return self._batches(epoch, start)

    def drawn(self, epoch: int, batch: int) -> Tuple[np.ndarray, List[np.random.Generator]]:
        """Return which images (N,) a batch has, and for each the random numbers that augment it."""
        indices, position = self._chosen(self._order(epoch), batch), self._position(batch)
        return indices, [generator(self._seed, epoch, AUGMENT, position + row) for row in range(len(indices))]

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        turn = self._turn = object()
        self._abandon_pending()
        order = self._order(epoch)
        try:
            ahead = iter(range(start, self.batches_per_epoch))
            for batch in range(start, self.batches_per_epoch):
                self._check_open()
                if self._turn is not turn:
                    raise DataError(
                        f'the loader of {self.dataset.folder} has begun another epoch; read one at a time'
                    )
                if self._pool is None:
                    images, filled = self._decode(epoch, batch, order)
                else:
                    self._submit(self._pool, ahead, epoch, order)
                    images, filled = self._receive()
                self._count(filled.faults)
                yield images, filled.labels
        finally:
            if self._turn is turn:
                self._abandon_pending()

    @property
    def _batch_shape(self) -> Tuple[int, int, int, int]:
        height, width, channels = self.dataset.image_shape
        return self.batch_size, channels, height, width

    def _draw_order(self, epoch: int) -> np.ndarray:
        return self._sample(generator(self._seed, epoch, ORDER))

    def _chosen(self, order: np.ndarray, batch: int) -> np.ndarray:
        start = self._position(batch)
        return order[start : start + self.batch_size]

    def _position(self, batch: int) -> int:
        """Return where this worker's part of a batch begins in the epoch."""
        return (batch * self._ranks + self._rank) * self.batch_size

    def _count(self, faults: Sequence[str]) -> None:
        """Log images that were replaced; DataError for one more than there may be."""
        for fault in faults:
            self.faults += 1
            if self.faults > self.most_faults:
                raise DataError(
                    f'{fault}; it is image number {self.faults} that cannot be read (data_faults)'
                )
            logger.warning('%s; another image takes its place', fault)

    def _decode(self, epoch: int, batch: int, order: np.ndarray) -> Tuple[np.ndarray, Filled]:
        images = np.empty(self._batch_shape, np.uint8)
        return images, self._filler.fill(images, epoch, self._position(batch), self._chosen(order, batch))

    def _submit(self, pool: ProcessPoolExecutor, ahead: Iterator[int], epoch: int, order: np.ndarray) -> None:
        """Give work to the pool until every slot is taken; batch b uses slot b modulo their number."""
        while len(self._pending) < len(self._slots):
            batch = next(ahead, None)
            if batch is None:
                return
            slot, position = batch % len(self._slots), self._position(batch)
            with self._named_faults():
                work = pool.submit(fill_slot, slot, epoch, position, self._chosen(order, batch))
            self._pending.append((batch, work))

    def _receive(self) -> Tuple[np.ndarray, Filled]:
        """Return a copy of the oldest batch, whose slot is then free."""
        batch, work = self._pending[0]
        with self._named_faults():
            filled = work.result()
        self._pending.popleft()
        return self._slots[batch % len(self._slots)].copy(), filled

    def _abandon_pending(self) -> None:
        """Wait until no worker writes to a slot any more."""
        for _, work in self._pending:
            work.cancel()
        wait([work for _, work in self._pending if not work.cancelled()])
        self._pending.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise DataError(f'the loader of {self.dataset.folder} has been closed; make another one')

    @contextlib.contextmanager
    def _named_faults(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool:
            raise DataError(
                f'a worker that decodes the images of {self.dataset.folder} was killed, '
                'perhaps for want of memory; start again with fewer workers or smaller batches'
            ) from None


def _check_lowest(**numbers: Tuple[int, int]) -> None:
    """Raise ConfigError for a (number, lowest) of which the number is lower."""
    for name, (value, low) in numbers.items():
        if value < low:
            raise ConfigError(f'{name}={value!r} is out of range; it must be at least {low}')


def _check_batch(dataset: Faces, batch_size: int, sampler: str, per_identity: int) -> None:
    """Raise ConfigError where the sampler gives no batch of this size."""
    if batch_size > len(dataset):
        raise ConfigError(
            f'a batch of {batch_size} images is more than the {len(dataset)} images of {dataset.folder}; '
            'choose a smaller batch size'
        )
    if sampler not in SAMPLERS:
        raise ConfigError(f'data_sampler={sampler!r} is not one of {", ".join(SAMPLERS)}')
    if sampler == 'balanced' and batch_size % per_identity:
        raise ConfigError(
            f'a batch of {batch_size} images does not consist of groups of images_per_identity={per_identity}; '
            f'{max(batch_size // per_identity, 1) * per_identity} does'
        )


def _shared(shape: Tuple[int, ...]) -> np.ndarray:
    """Return uint8 memory that processes forked from this one share with it."""
    return np.frombuffer(mmap.mmap(-1, int(np.prod(shape))), np.uint8).reshape(shape)
