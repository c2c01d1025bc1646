"""Triplets that are mined over the whole step of a worker, though its parts go through the network one by one.

All parts go forward once to give the embeddings, of which the loss and its gradients are computed at once; then each
goes forward again, and backward from its share of these gradients. That is the exact gradient of the whole bag, in the
memory of a part, for the price of a second forward pass.
Source: Gao et al. 2021, 'Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup', section 3.
InsightFace mines over a bag, too (triplet_bag_size), and takes several steps on its triplets while embeddings age.
"""

from __future__ import annotations

from typing import List, Sequence

import numpy as np

from recognition.classifier.base import Objective, WholeClassifier

import mxnet as mx
from mxnet import autograd, gluon


class Bag(WholeClassifier):
    """A loss of losses.triplet, initialised, over the samples of all `parts` of a step and of all devices."""

    def __init__(self, block: gluon.HybridBlock, contexts: Sequence[mx.Context], parts: int) -> None:
        super().__init__(block)
        self.spans_parts = parts > 1
        self.predictions = _identities
        self._context = contexts[0]
        self._labels = np.zeros(0)
        self._to_come: Sequence[mx.nd.NDArray] = ()  # gradients, losses and identities of the samples

    def begin(self, labels: np.ndarray, step: int) -> None:
        """Take the labels of all parts."""
        self._labels = labels

    def see(self, embeddings: Sequence[mx.nd.NDArray]) -> None:
        """Compute losses, gradients, and the identities of the nearest other samples."""
        with autograd.pause():
            every = mx.nd.concat(*(each.as_in_context(self._context) for each in embeddings), dim=0)
        every.attach_grad()
        with autograd.record():
            losses, scores = self.block(every, mx.nd.array(self._labels, self._context))
        losses.backward()
        identities = self.block.predictions(scores, self._labels)
        self._to_come = (every.grad, losses.detach(), mx.nd.array(identities, self._context))

    def objective(
        self, embeddings: Sequence[mx.nd.NDArray], labels: Sequence[mx.nd.NDArray], scale: float
    ) -> Objective:
        """Give the samples of the next part their gradients."""
        if not self.spans_parts:
            self.see(embeddings)
        gradients: List[mx.nd.NDArray] = []
        results: List[Sequence[mx.nd.NDArray]] = []
        with autograd.pause():
            for each in embeddings:
                gradient, *result = (array[: len(each)] for array in self._to_come)
                self._to_come = [array[len(each) :] for array in self._to_come]
                gradients.append(gradient.as_in_context(each.context) * scale)
                results.append(result)
        return list(embeddings), gradients, results


def _identities(identities: mx.nd.NDArray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(identities.asnumpy())
