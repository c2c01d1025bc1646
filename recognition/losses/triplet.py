"""Losses on embeddings alone, without a classifier: triplets of an anchor, a positive and a negative.

The bag in which they are mined is all that a worker sees in a step (`gradient_cache`): every sample is an anchor, its
positive the farthest of the same identity and its negative the nearest of another (Hermans et al. 2017, 'In Defense of
the Triplet Loss', equation 5). That needs several images of an identity, which `data_sampler='balanced'` brings.
"""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np

from recognition.losses.margin import angle

import mxnet as mx
from mxnet.gluon import HybridBlock

FAR = 1e3  # above every distance


class Triplet(HybridBlock):
    """max(0, d(anchor, positive) - d(anchor, negative) + alpha), d the squared distance of unit vectors (0 to 4).

    `loss, scores = block(embedding (N, D), label (N,))`: loss (N,), 0 for a sample without another of its identity,
    or without one of another, in the batch; scores (N, N) are minus the distances, the own one far below. Positives
    farther than `max_ap` are left out, as labels that may be wrong; 0 sets no limit.
    Source: FaceNet (Schroff et al. 2015), equation 1; InsightFace's loss_name 'triplet'.
    """

    def __init__(self, *, alpha: float, max_ap: float = 0.0) -> None:
        super().__init__(prefix='')
        self.states: Tuple[Any, ...] = ()
        self.alpha, self.max_ap = alpha, max_ap

    def hybrid_forward(self, F: Any, embedding: Any, label: Any) -> Tuple[Any, Any]:
        """Return (loss (N,), scores (N, N))."""
        with mx.name.Prefix('triplet_'):
            unit = F.L2Normalization(embedding, mode='instance')
            cosines = F.clip(F.dot(unit, unit, transpose_b=True), -1.0, 1.0)
            distance = self.distance(F, cosines)
            column = F.reshape(label, shape=(-1, 1))
            same = F.broadcast_equal(column, F.transpose(column))
            near = same * (distance <= self.max_ap) if self.max_ap else same
            positive = F.max(distance * near, axis=1)  # the sample itself is at 0
            negative = F.min(distance + same * FAR, axis=1)
            whole = (F.sum(near, axis=1) > 1) * (negative < FAR / 2)
            loss = F.relu(positive - negative + self.alpha) * whole
            number = F.reshape(F.contrib.arange_like(label), shape=(-1, 1))
            itself = F.broadcast_equal(number, F.transpose(number))
            scores = F.negative(distance + itself * FAR)
        return F.identity(loss, name='loss'), scores

    def distance(self, F: Any, cosines: Any) -> Any:
        """Return the distances of unit vectors with these cosines (N, N), each in [-1, 1]."""
        return 2.0 - 2.0 * cosines

    @staticmethod
    def predictions(scores: mx.nd.NDArray, labels: np.ndarray) -> np.ndarray:
        """Return the identity (N,) of the nearest other sample."""
        return np.asarray(labels)[scores.argmax(axis=1).asnumpy().astype(np.int64)]


class AngularTriplet(Triplet):
    """The same with the angle in radians (0 to pi) as distance. InsightFace's loss_name 'atriplet'."""

    def distance(self, F: Any, cosines: Any) -> Any:
        """Return the angles of these cosines."""
        return angle(F, cosines)
