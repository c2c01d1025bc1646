"""What a training loop shows while it runs: mean loss, accuracy, images per second and the time left."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import Callable, Deque, Iterator, Tuple

import numpy as np


class TrainingMetrics:
    """Mean loss and accuracy over all samples of the last `window` batches, and since the start.

    A margin lowers the logit of a sample's own identity, so the accuracy of such logits is below what the
    same network reaches without the margin. NaN before the first update.
    """

    def __init__(self, window: int = 50) -> None:
        self._recent: Deque[Tuple[int, float, int]] = deque(maxlen=window)
        self._total = (0, 0.0, 0)

    def update(self, losses: np.ndarray, predictions: np.ndarray, labels: np.ndarray) -> None:
        """Add one batch: losses (N,), predicted identities (N,) (`logits.argmax(axis=1)`) and labels (N,)."""
        losses, predictions, labels = (np.asarray(values) for values in (losses, predictions, labels))
        if not losses.shape == predictions.shape == labels.shape == (losses.size,):
            raise ValueError(
                f'losses {losses.shape}, predictions {predictions.shape} and labels {labels.shape} '
                f'must be of one shape (N,)'
            )
        batch = (losses.size, float(losses.sum(dtype=np.float64)), int((predictions == labels).sum()))
        self._recent.append(batch)
        count, loss, hits = self._total
        self._total = (count + batch[0], loss + batch[1], hits + batch[2])

    @property
    def loss(self) -> float:
        """Mean loss over the window."""
        return _ratio(sum(batch[1] for batch in self._recent), sum(batch[0] for batch in self._recent))

    @property
    def accuracy(self) -> float:
        """Share of correct predictions over the window, 0..1."""
        return _ratio(sum(batch[2] for batch in self._recent), sum(batch[0] for batch in self._recent))

    @property
    def total_loss(self) -> float:
        """Mean loss since the start."""
        return _ratio(self._total[1], self._total[0])

    @property
    def total_accuracy(self) -> float:
        """Share of correct predictions since the start, 0..1."""
        return _ratio(self._total[2], self._total[0])


class Throughput:
    """Images per second over the last `window` batches and since the start, and the time left.

    The clock runs from construction; `with throughput.paused():` keeps a verification or a checkpoint out
    of the figures. `clock` returns seconds and never goes back. Rates are NaN before the first update.
    """

    def __init__(self, window: int = 50, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._away = 0.0
        self._images = 0
        self._marks: Deque[Tuple[float, int]] = deque([(0.0, 0)], maxlen=window + 1)

    def update(self, images: int) -> None:
        """Say that a batch of `images` images is done."""
        self._images += images
        self._marks.append((self.seconds, self._images))

    @property
    def seconds(self) -> float:
        """Seconds since construction, pauses left out."""
        return self._clock() - self._start - self._away

    @property
    def images_per_second(self) -> float:
        """Rate over the window, up to the last update."""
        (begin, before), (end, after) = self._marks[0], self._marks[-1]
        return _ratio(after - before, end - begin)

    @property
    def total_images_per_second(self) -> float:
        """Rate since the start, up to the last update."""
        return _ratio(self._images, self._marks[-1][0])

    def seconds_left(self, images: int) -> float:
        """Return the seconds that `images` more images take at the rate of the window."""
        return _ratio(images, self.images_per_second)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time inside the `with` out of every figure."""
        begin = self._clock()
        try:
            yield
        finally:
            self._away += self._clock() - begin


def _ratio(part: float, whole: float) -> float:
    """Return part / whole, NaN where nothing was counted or no time has passed."""
    return part / whole if whole else float('nan')
