"""Classification: loss, top-1 and top-5 accuracy with their intervals, and the confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Sequence, Tuple, Union

import numpy as np

from recognition.verification.confidence import Interval, of_share

TOP = 5
MAX_SUM_ERROR = 1e-3  # of probabilities, how far from 1 their sum may be
MAX_LISTED_CLASSES = 100  # of a confusion matrix in a report


@dataclass(frozen=True)
class Classification:
    """Figures of class scores on labelled images.

    loss: mean cross-entropy, in nats. top1, top5: shares in 0..1, with 95 % intervals (Wilson 1927). confusion: int64
    (C, C), images by true class (rows) and predicted class (columns).
    """

    images: int
    loss: float
    top1: float
    top5: float
    top1_interval: Interval
    top5_interval: Interval
    confusion: np.ndarray

    @property
    def accuracy(self) -> float:
        """Return top1."""
        return self.top1

    def summary(self) -> str:
        """Return accuracy with its interval, top-5 accuracy and loss."""
        low, high = self.top1_interval
        return (
            f'accuracy {100 * self.top1:.2f} % ({100 * low:.1f} to {100 * high:.1f}), '
            f'top-5 {100 * self.top5:.2f} %, loss {self.loss:.3f}, {self.images:,} images'
        )

    def as_dict(self) -> Dict[str, Any]:
        """Return the figures for JSON; the confusion matrix as lists, of at most MAX_LISTED_CLASSES classes."""
        figures: Dict[str, Any] = {
            name: getattr(self, name)
            for name in ('images', 'loss', 'accuracy', 'top1', 'top5', 'top1_interval', 'top5_interval')
        }
        if len(self.confusion) <= MAX_LISTED_CLASSES:
            figures['confusion'] = self.confusion.tolist()
        return figures


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return probabilities, float64 (N, C), of class scores (N, C)."""
    scores = np.asarray(scores, np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def are_probabilities(rows: np.ndarray) -> bool:
    """Return whether rows (N, C) of a network are probabilities: it ends in a softmax, and gives no logits."""
    return bool((rows >= 0).all() and (np.abs(rows.sum(axis=1) - 1) < MAX_SUM_ERROR).all())


def logarithms(probabilities: np.ndarray) -> np.ndarray:
    """Return logits of which the softmax is `probabilities`; of a 0 the logarithm of the smallest float32."""
    return np.asarray(np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)))


def classify(batches: Iterable[Tuple[np.ndarray, Union[Sequence[int], np.ndarray]]]) -> Classification:
    """Return the figures of batches of class scores (N, C), which are logits, and labels (N,) in 0..C-1.

    Of equal scores the class with the lower number comes first. Raises ValueError where there is no image.
    """
    images, hits1, hits5 = 0, 0, 0
    losses: List[float] = []
    confusion = np.zeros((0, 0), np.int64)
    for scores, labels in batches:
        scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
        count, classes = scores.shape
        confusion = confusion if len(confusion) else np.zeros((classes, classes), np.int64)
        own = scores[np.arange(count), labels]
        shifted = scores - scores.max(axis=1, keepdims=True)
        losses.append(float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(count), labels]).sum()))
        number = np.arange(classes)
        before = (scores > own[:, None]) | ((scores == own[:, None]) & (number < labels[:, None]))
        rank = before.sum(axis=1)
        images, hits1, hits5 = images + count, hits1 + int((rank < 1).sum()), hits5 + int((rank < TOP).sum())
        np.add.at(confusion, (labels, scores.argmax(axis=1)), 1)
    if not images:
        raise ValueError('there are no images to classify')
    return Classification(
        images=images,
        loss=sum(losses) / images,
        top1=hits1 / images,
        top5=hits5 / images,
        top1_interval=of_share(hits1, images),
        top5_interval=of_share(hits5, images),
        confusion=confusion,
    )
