"""Cross-entropy of class scores that the network computes itself, with smoothed labels and weighted classes."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import numpy as np

from recognition.losses.margin import Softmax

import mxnet as mx
from mxnet.gluon import HybridBlock


class CrossEntropy(HybridBlock):
    """Cross-entropy of logits (N, C); the targets are smoothing / C, and 1 - smoothing more at the own class.

    `loss, scores = block(scores (N, C), label (N,))`: loss (N,). Each term counts by the weight of its class, so that
    the loss of a batch is the sum of `loss` over the sum of its labels' weights, as PyTorch's CrossEntropyLoss has it.
    Source: Szegedy et al. 2016, 'Rethinking the Inception Architecture for Computer Vision', section 7.
    """

    predictions = staticmethod(Softmax.predictions)

    def __init__(self, *, smoothing: float = 0.0, weights: Sequence[float] = ()) -> None:
        super().__init__(prefix='')
        self.states: Tuple[Any, ...] = ()
        self.smoothing, self.weights = smoothing, np.array(weights, np.float32)
        if weights:
            self.class_weights = self.params.get_constant('class_weights', self.weights[None])

    def hybrid_forward(self, F: Any, scores: Any, label: Any, class_weights: Any = None) -> Tuple[Any, Any]:
        """Return (loss (N,), scores (N, C))."""
        terms = F.log_softmax(scores, axis=1, name='log_softmax')
        if class_weights is not None:
            terms = F.broadcast_mul(terms, class_weights, name='weighted')
        loss = F.negative(F.pick(terms, label, axis=1, name='log_probability'), name='loss')
        if self.smoothing:
            with mx.name.Prefix('smoothing_'):
                loss = loss * (1 - self.smoothing) - F.mean(terms, axis=1) * self.smoothing
        return loss, scores


def balanced_weights(labels: np.ndarray, num_classes: int) -> Tuple[float, ...]:
    """Return n / (C * n_c) for each class c of n labels; a class without a label counts as if it had one."""
    counts = np.bincount(np.asarray(labels, np.int64), minlength=num_classes)
    return tuple(float(weight) for weight in len(labels) / (num_classes * np.maximum(counts, 1)))
