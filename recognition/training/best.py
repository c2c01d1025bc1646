"""What the best network of a run is judged by, and the best so far."""

from __future__ import annotations

from typing import Callable, Dict, Mapping, Sequence, Tuple

import numpy as np

from config.errors import ConfigError, nearest
from recognition.verification.lfw import Verification

Figure = Callable[[Verification, float], float]  # higher is better

FIGURES: Dict[str, Figure] = {
    'accuracy': lambda result, _: result.accuracy,
    'auc': lambda result, _: result.auc,
    'eer': lambda result, _: -result.eer,
    'tar': lambda result, far: result.tar_at_far.get(far, float('nan')),
}


class Best:
    """Judges verifications by `target`: 'lfw' (accuracy), 'lfw:auc', 'lfw:eer' or 'lfw:tar@0.001'; '' is the mean
    accuracy over all sets.

    `score` is the best so far, higher is better (an equal error rate counts negative); minus infinity at first.
    Raises ConfigError for a target that names none of `sets` or no figure.
    """

    def __init__(self, target: str, sets: Sequence[str]) -> None:
        self.target = target
        self._set, self._figure, self._far = parse_target(target) if target else ('', 'accuracy', 0.0)
        if target and self._set not in sets:
            known = ', '.join(sets) or 'none is there'
            raise ConfigError(
                f'best={target!r} names no verification set of this run ({known}){nearest(self._set, sets)}'
            )
        self.score = float('-inf')

    def improved(self, verifications: Mapping[str, Verification]) -> bool:
        """Take in the verifications of a step, by set, and return whether they are the best so far."""
        judged = [verifications[self._set]] if self.target else list(verifications.values())
        score = float(np.mean([FIGURES[self._figure](result, self._far) for result in judged]))
        if np.isnan(score):
            raise ConfigError(
                f'best={self.target!r}: {self._set} has too few different pairs for that false accept rate'
            )
        better = score > self.score
        self.score = max(score, self.score)
        return better


def parse_target(target: str) -> Tuple[str, str, float]:
    """Split 'set', 'set:figure' or 'set:tar@FAR' into (set, figure, false accept rate or 0)."""
    name, _, words = target.partition(':')
    figure, at, rate = (words or 'accuracy').partition('@')
    try:
        far = float(rate) if at else 0.0
    except ValueError:
        far = -1.0
    if figure not in FIGURES or (figure == 'tar') != bool(at) or (at and not 0 < far < 1):
        raise ConfigError(
            f'best={target!r} is not a set with a figure: SET, SET:accuracy, SET:auc, SET:eer or SET:tar@0.001'
        )
    return name, figure, far
