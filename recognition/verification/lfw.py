"""Face verification: do two photographs show the same person? The ten-fold protocol of InsightFace and LFW.

An embedding is normalise(e(x) + e(mirror x)); a pair is called the same when the squared distance of its two
embeddings is below a threshold, which is chosen on nine folds and judged on the tenth.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

import numpy as np

from config.errors import CheckpointError, ConfigError, DataError, nearest
from recognition.data.pair_sets import load_bin
from recognition.verification.confidence import Interval, of_mean
from recognition.verification.roc import judge

__all__ = ['Verification', 'embed', 'load_bin', 'normalise', 'verify']

Answers = Union[Sequence[bool], np.ndarray]

THRESHOLDS = np.arange(0, 4, 0.01)  # squared L2 distance of unit vectors: 0 (equal) to 4 (opposite)
FLIPS: Dict[str, Callable[[np.ndarray, Callable[[], np.ndarray]], np.ndarray]] = {
    'sum': lambda plain, mirrored: plain + mirrored(),
    'concat': lambda plain, mirrored: np.concatenate([plain, mirrored()], axis=1),
    'none': lambda plain, mirrored: plain,
}
UNIT_TOLERANCE = 1e-3  # far above float32's rounding, far below what would move a distance by one threshold


@dataclass(frozen=True)
class Verification:
    """What a verification set says of a network; every share is within 0..1."""

    accuracy: float  # mean over the folds
    accuracy_std: float  # standard deviation over the folds (numpy's, not corrected for the number of folds)
    pairs: int
    folds: int
    fold_accuracies: Tuple[float, ...]
    thresholds: Tuple[float, ...]  # squared L2 distance, the one chosen for each fold
    interval: Interval  # 95 % of the accuracy, by the folds
    tar_at_far: Dict[float, float]  # only the false accept rates that the number of different pairs supports
    tar_intervals: Dict[float, Interval]  # 95 %, by the number of same pairs
    eer: float  # equal error rate: where as many are falsely accepted as falsely rejected
    auc: float
    far: np.ndarray  # the ROC curve over all pairs, from (0, 0) to (1, 1)
    tar: np.ndarray

    @property
    def threshold(self) -> float:
        """Return the mean of the folds' thresholds (squared L2 distance, 0..4)."""
        return float(np.mean(self.thresholds))

    def summary(self) -> str:
        """Return the accuracy with its standard deviation."""
        return f'accuracy {100 * self.accuracy:.2f} % +- {100 * self.accuracy_std:.2f} %'

    def as_dict(self) -> Dict[str, Any]:
        """Return the figures, without the curve, as plain values that JSON can hold."""
        return {
            'accuracy': self.accuracy,
            'accuracy_std': self.accuracy_std,
            'accuracy_interval': list(self.interval),
            'pairs': self.pairs,
            'folds': self.folds,
            'threshold': self.threshold,
            'tar_at_far': {f'{far:g}': tar for far, tar in self.tar_at_far.items()},
            'tar_intervals': {f'{far:g}': list(ends) for far, ends in self.tar_intervals.items()},
            'eer': self.eer,
            'auc': self.auc,
        }


def verify(embeddings: np.ndarray, issame: Answers, folds: int = 10) -> Verification:
    """Judge L2-normalised embeddings (2P, D), rows 2p and 2p + 1 being pair p, by cross-validation.

    The folds are contiguous and unshuffled, so the order of the pairs matters. Accuracy is that of
    InsightFace's `calculate_roc`. TAR at FAR is read from the ROC curve over all pairs, for every FAR of
    1e-1 .. 1e-6 that comes to one false accept at least.

    Raises DataError when counts do not fit, a value is not finite, rows are not of length 1 (or 0), or all
    pairs have the same answer; ConfigError when there are fewer than two folds.
    """
    distance, same = _distances(embeddings, issame)
    if isinstance(folds, bool) or not isinstance(folds, (int, np.integer)) or folds < 2:
        raise ConfigError(f'folds={folds!r}: cross-validation needs a whole number of folds, 2 at least')
    if len(same) < folds:
        raise DataError(f'{len(same)} pairs are too few for {folds} folds; every fold needs a pair at least')
    if same.all() or not same.any():
        raise DataError(
            f'all {len(same)} pairs are {"the same person" if same.all() else "different people"}; '
            'verification needs pairs of both kinds'
        )
    accuracies, thresholds = _cross_validate(distance, same, folds)
    return Verification(
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        pairs=len(same),
        folds=int(folds),
        fold_accuracies=tuple(accuracies),
        thresholds=tuple(thresholds),
        interval=of_mean(accuracies),
        **judge(distance, same),
    )


def embed(
    net: Callable[..., Any], images: np.ndarray, ctx: Any = None, batch_size: int = 64, flip: str = 'sum'
) -> np.ndarray:
    """Embed uint8 RGB images (N, 3, H, W) as L2-normalised float32 (N, D), each with its mirror image.

    `net` is a Block or any callable from NDArray to NDArray; it sees float32 batches of 0..255 on `ctx`
    (mxnet's current context when None), the last one smaller. An image that stands in several pairs is
    embedded once. `flip` says what becomes of the mirror image's embedding: 'sum' adds it (InsightFace's protocol),
    'concat' puts it behind the other, (N, 2 D), 'none' leaves it out.

    Raises CheckpointError when the network gives values that are not finite.
    """
    check_flip(flip)
    if batch_size < 1:
        raise ConfigError(f'batch_size={batch_size!r} must be at least 1')
    if not len(images):
        raise DataError('there are no images to embed')
    distinct, places = _distinct(images)
    rows: List[np.ndarray] = []
    for start in range(0, len(distinct), batch_size):
        batch = images[distinct[start : start + batch_size]]
        mirrored = partial(forward, net, batch[:, :, :, ::-1], ctx)
        rows.append(FLIPS[flip](forward(net, batch, ctx), mirrored))
    embeddings = np.concatenate(rows)[places]
    damaged = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(damaged):
        raise CheckpointError(
            f'the network gives values that are not finite for {len(damaged)} of {len(images)} images '
            f'(the first is image {damaged[0]}); its weights are damaged, or the training has diverged'
        )
    return normalise(embeddings).astype(np.float32)


def check_flip(flip: str, key: str = 'flip') -> None:
    """Raise ConfigError, which names the setting `key`, unless `flip` is one of FLIPS."""
    if flip not in FLIPS:
        raise ConfigError(f'{key}={flip!r} is not one of {", ".join(FLIPS)}{nearest(flip, FLIPS)}')


def normalise(rows: np.ndarray) -> np.ndarray:
    """Scale every row of (N, D) to length 1, in float64; a row of zeros has no direction and stays zero."""
    rows = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length == 0, 1, length)


def _distinct(images: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the positions of the images without repetitions, and for each image its place among them."""
    first: Dict[bytes, int] = {}
    digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    places = np.array([first.setdefault(digest, len(first)) for digest in digests])
    _, distinct = np.unique(places, return_index=True)
    return distinct, places


def forward(net: Callable[..., Any], batch: np.ndarray, ctx: Any) -> np.ndarray:
    """Return what a network gives for images (N, C, H, W), float64 (N, D); CheckpointError for another shape."""
    import mxnet as mx

    data = mx.nd.array(np.ascontiguousarray(batch, dtype=np.float32), ctx=ctx, dtype=np.float32)
    output = net(data).asnumpy().astype(np.float64)  # float64: the sum and the length round nothing away
    if output.ndim != 2 or len(output) != len(batch):
        raise CheckpointError(
            f'the network gives shape {output.shape} for {len(batch)} images, '
            f'where an embedding is ({len(batch)}, size)'
        )
    return output


def _distances(embeddings: np.ndarray, issame: Answers) -> Tuple[np.ndarray, np.ndarray]:
    same = np.asarray(issame, dtype=bool)
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or same.ndim != 1 or len(vectors) != 2 * len(same):
        raise DataError(
            f'embeddings of shape {vectors.shape} do not fit {same.size} answers: '
            'two rows for each are expected'
        )
    if not np.isfinite(vectors).all():
        raise DataError('the embeddings hold values that are not finite')
    length = np.linalg.norm(vectors, axis=1)
    if np.any((np.abs(length - 1) > UNIT_TOLERANCE) & (length != 0)):
        raise DataError(
            f'the embeddings are not L2-normalised (lengths {np.min(length):.4g} to {np.max(length):.4g}); '
            'the thresholds 0..4 are for vectors of length 1'
        )
    return np.sum(np.square(vectors[0::2] - vectors[1::2]), axis=1), same


def _cross_validate(distance: np.ndarray, same: np.ndarray, folds: int) -> Tuple[List[float], List[float]]:
    accuracies, thresholds = [], []
    for test in np.array_split(np.arange(len(same)), folds):
        train = np.ones(len(same), dtype=bool)
        train[test] = False
        # argmax takes the first of equals: the smallest of the best thresholds, as InsightFace does
        best = int(np.argmax(_right(distance[train], same[train])))
        accuracies.append(float(_right(distance[test], same[test])[best] / len(test)))
        thresholds.append(float(THRESHOLDS[best]))
    return accuracies, thresholds


def _right(distance: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Count, for every threshold, the pairs that "same when distance < threshold" judges rightly."""
    accepted_same = np.searchsorted(np.sort(distance[same]), THRESHOLDS, side='left')
    accepted_different = np.searchsorted(np.sort(distance[~same]), THRESHOLDS, side='left')
    return accepted_same + ((~same).sum() - accepted_different)
