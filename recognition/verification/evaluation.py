"""Sets that a network is verified on while it trains: pairs of images, or labelled images; one interface for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Iterator, Protocol, Tuple

import numpy as np

from config.checks import CLASS_SCORES, EMBEDDING
from config.errors import CheckpointError
from recognition.data.dataset import TrainingFaces
from recognition.verification.classification import Classification, classify
from recognition.verification.lfw import Verification, embed, forward, verify

BATCH_SIZE = 64


class Evaluation(Protocol):
    """Figures of a network on a set."""

    @property
    def accuracy(self) -> float:
        """Return the figure by which networks are compared, in 0..1; higher is better."""

    def as_dict(self) -> Dict[str, Any]:
        """Return the figures for JSON, `accuracy` among them."""

    def summary(self) -> str:
        """Return the figures as words of one line."""


class Evaluator(Protocol):
    """A set."""

    content: ClassVar[str]  # what it holds, in words
    kind: ClassVar[str]  # of output that it judges
    figures: ClassVar[Tuple[str, ...]]  # what the best network may be judged by (recognition.training.best)

    def __call__(self, net: Any, ctx: Any) -> Evaluation:
        """Return the figures of a network, a block that takes images (N, C, H, W)."""


@dataclass(frozen=True)
class PairSet:
    """Pairs of faces: uint8 images (2P, C, H, W) and the answers (P,), as from `load_bin`."""

    images: np.ndarray
    issame: np.ndarray
    content: ClassVar[str] = 'pairs of images'
    kind: ClassVar[str] = EMBEDDING
    figures: ClassVar[Tuple[str, ...]] = ('accuracy', 'auc', 'eer', 'tar')

    def __call__(self, net: Any, ctx: Any) -> Verification:
        """Judge the network by the LFW protocol."""
        return verify(embed(net, self.images, ctx), self.issame.tolist())


@dataclass(frozen=True)
class LabelledSet:
    """Images with the labels of their classes, read from their records each time."""

    dataset: TrainingFaces
    content: ClassVar[str] = 'labelled images'
    kind: ClassVar[str] = CLASS_SCORES
    figures: ClassVar[Tuple[str, ...]] = ('accuracy', 'top1', 'top5', 'loss')

    def __call__(self, net: Any, ctx: Any) -> Classification:
        """Judge the network by its class scores; CheckpointError where they are not finite."""
        return classify(self._batches(net, ctx))

    def _batches(self, net: Any, ctx: Any) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        count = len(self.dataset)
        for start in range(0, count, BATCH_SIZE):
            indices = range(start, min(start + BATCH_SIZE, count))
            images = np.stack([self.dataset.read(index)[0] for index in indices])
            scores = forward(net, images.transpose(0, 3, 1, 2), ctx)
            if not np.isfinite(scores).all():
                raise CheckpointError(
                    f'the network gives class scores that are not finite for images of {self.dataset.folder}; its '
                    'weights are damaged, or the training has diverged'
                )
            yield scores, self.dataset.labels[start : start + BATCH_SIZE]
