"""The curve of false and true accept rates of pairs, and what is read from it."""

from __future__ import annotations

from typing import Dict, Tuple, TypedDict

import numpy as np

from recognition.verification.confidence import Interval, of_share

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


class Roc(TypedDict):
    """A ROC curve, and what is read from it; every share is within 0..1."""

    tar_at_far: Dict[float, float]  # only the false accept rates that the number of different pairs supports
    tar_intervals: Dict[float, Interval]  # 95 %, by the number of same pairs
    eer: float  # equal error rate: where as many are falsely accepted as falsely rejected
    auc: float
    far: np.ndarray  # the curve over all pairs, from (0, 0) to (1, 1)
    tar: np.ndarray


def judge(distance: np.ndarray, same: np.ndarray) -> Roc:
    """Judge pairs, some of the same person and some not, by their distances (P,) and the answers `same` (P,), bool."""
    far, tar = roc(distance, same)
    different, alike = int((~same).sum()), int(same.sum())
    at_far = {f: float(tar[far <= f].max()) for f in FARS if f * different >= 1 - 1e-9}
    return Roc(
        tar_at_far=at_far,
        tar_intervals={f: of_share(round(share * alike), alike) for f, share in at_far.items()},
        eer=equal_error_rate(far, tar),
        auc=float(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2)),
        far=far,
        tar=tar,
    )


def roc(distance: np.ndarray, same: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return (false accept rates, true accept rates) of the ROC curve, from (0, 0) to (1, 1)."""
    order = np.argsort(distance, kind='stable')
    # pairs at one distance are accepted together, so only the last of equals is a point of the curve
    last = np.append(np.flatnonzero(np.diff(distance[order])), len(order) - 1)
    accepted_same = np.cumsum(same[order])[last]
    accepted_different = np.cumsum(~same[order])[last]
    far = np.concatenate([[0.0], accepted_different / max(1, accepted_different[-1])])
    tar = np.concatenate([[0.0], accepted_same / max(1, accepted_same[-1])])
    return far, tar


def equal_error_rate(far: np.ndarray, tar: np.ndarray) -> float:
    """Return where, on the line between two points of a ROC curve, as many are falsely accepted as rejected."""
    gap = far - (1 - tar)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(far[before] + share * (far[after] - far[before]))
