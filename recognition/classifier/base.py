"""The classifier as the trainer uses it, whichever way it is held: whole, on every device, or in parts.

`objective` gives what autograd has to begin with: arrays and their gradients (None: ones), and for each of the parts
that it made of the batch (loss (n,), scores, *next states).
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Protocol, Sequence, Tuple

import numpy as np

from recognition.checkpoint.matching import CLASSIFIER, set_parameters
from recognition.distributed.kvstore import KVStoreGroup
from recognition.utils.streamed_array import Rows

import mxnet as mx
from mxnet import gluon

PARAMETERS = 'param:'  # and what the optimizer remembers is 'slot0:', 'slot1:' ...
Objective = Tuple[List[mx.nd.NDArray], Any, List[Sequence[mx.nd.NDArray]]]


class Classifier(Protocol):
    """What the trainer asks of a classifier."""

    parameters: Dict[str, gluon.Parameter]  # trained, or kept, with the network's
    states: Sequence[gluon.Parameter]  # those of them that no gradient changes
    spans_parts: (
        bool  # whether it has to `see` the embeddings of all parts of a step before the first `objective`
    )

    def begin(self, labels: np.ndarray, step: int) -> None:
        """Make ready for a step, counted from 0, with these labels (N,) of this worker."""

    def see(self, embeddings: Sequence[mx.nd.NDArray]) -> None:
        """Take the embeddings (n, D) of all parts and devices, in the order of the samples."""

    def objective(
        self, embeddings: Sequence[mx.nd.NDArray], labels: Sequence[mx.nd.NDArray], scale: float
    ) -> Objective:
        """Compute the losses of embeddings (n, D) and labels (n,), of each device, under autograd.record()."""

    def predictions(self, scores: mx.nd.NDArray, labels: np.ndarray) -> np.ndarray:
        """Return the identity (n,) that each sample is taken for."""

    def squares(self) -> float:
        """Return the squared length of the gradient of what is not among `parameters`, on all workers."""

    def update(self, rate: float, scale: float, count: int) -> None:
        """Update what is not among `parameters` as update number `count` + 1."""

    def arrays(self) -> Dict[str, Rows]:
        """Return what is not among `parameters` for the training state; all workers have to fetch all pieces."""

    def restore(self, count: int, arrays: Mapping[str, Any], *, source: object) -> None:
        """Go on after `count` updates with what `arrays` returned; CheckpointError where it does not fit."""

    def values(self) -> Dict[str, np.ndarray]:
        """Return the values of all identities by the name of the parameter; all workers have to call this."""

    def load(self, values: Mapping[str, Any]) -> None:
        """Put in the values of all identities."""


class WholeClassifier:
    """The objective `block` of recognition.losses, initialised, on every device; all it has is among `parameters`."""

    spans_parts = False

    def __init__(self, block: gluon.HybridBlock) -> None:
        self.block, self.states = block, block.states
        self.parameters = dict(block.collect_params().items())
        self.predictions = block.predictions

    def begin(self, labels: np.ndarray, step: int) -> None:
        """Do nothing."""

    def see(self, embeddings: Sequence[mx.nd.NDArray]) -> None:
        """Do nothing."""

    def objective(
        self, embeddings: Sequence[mx.nd.NDArray], labels: Sequence[mx.nd.NDArray], scale: float
    ) -> Objective:
        """Run the block on every device."""
        results = [self.block(each, own) for each, own in zip(embeddings, labels)]
        return [loss * scale if scale != 1.0 else loss for loss, *_ in results], None, results

    def squares(self) -> float:
        """Return 0."""
        return 0.0

    def update(self, rate: float, scale: float, count: int) -> None:
        """Do nothing."""

    def arrays(self) -> Dict[str, Rows]:
        """Return nothing."""
        return {}

    def restore(self, count: int, arrays: Mapping[str, Any], *, source: object) -> None:
        """Do nothing."""

    def values(self) -> Dict[str, np.ndarray]:
        """Return the values of all parameters by name."""
        held = {name: each for name, each in self.parameters.items() if name.startswith(CLASSIFIER)}
        return {name: each.list_data()[0].asnumpy() for name, each in held.items()}

    def load(self, values: Mapping[str, Any]) -> None:
        """Put values in the parameters of those names."""
        set_parameters(self.block, values)


class WeightedClasses(WholeClassifier):
    """A CrossEntropy with weights: the loss of a step is divided by the weights of all its labels, on all workers."""

    def __init__(self, block: gluon.HybridBlock, workers: KVStoreGroup) -> None:
        super().__init__(block)
        self._workers, self._factor = workers, 1.0

    def begin(self, labels: np.ndarray, step: int) -> None:
        """Add up the weights of the labels of a step, by whose number the trainer divides."""
        own = self.block.weights[np.asarray(labels, np.int64)].sum(dtype=np.float64)
        samples, weight = self._workers.total([len(labels), own])
        self._factor = float(samples / weight)

    def objective(
        self, embeddings: Sequence[mx.nd.NDArray], labels: Sequence[mx.nd.NDArray], scale: float
    ) -> Objective:
        """Run the block on every device."""
        results = [[loss * self._factor, scores] for loss, scores in map(self.block, embeddings, labels)]
        return [loss * scale for loss, _ in results], None, list(results)
