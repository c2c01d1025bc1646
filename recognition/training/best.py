"""What the best network of a run is judged by, and the best so far."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Sequence, Tuple

import numpy as np

from config.errors import ConfigError, nearest
from recognition.verification.evaluation import Evaluation

Figure = Callable[[Any, float], float]  # of an evaluation; higher is better

FIGURES: Dict[str, Figure] = {
    'accuracy': lambda result, _: result.accuracy,
    'auc': lambda result, _: result.auc,
    'eer': lambda result, _: -result.eer,
    'tar': lambda result, far: result.tar_at_far.get(far, float('nan')),
    'top1': lambda result, _: result.top1,
    'top5': lambda result, _: result.top5,
    'loss': lambda result, _: -result.loss,
}


class Best:
    """Judges evaluations by `target`: 'lfw' (accuracy), 'lfw:auc', 'lfw:eer' or 'lfw:tar@0.001', of labelled images
    'test', 'test:top1', 'test:top5' or 'test:loss'; '' is the mean accuracy over all sets.

    sets: the figures of each, by name. `score` is the best so far, higher is better (an equal error rate and a loss
    count negative); minus infinity at first. Raises ConfigError for a target that names none of them.
    """

    def __init__(self, target: str, sets: Mapping[str, Sequence[str]]) -> None:
        self.target = target
        self._set, self._figure, self._far = parse_target(target) if target else ('', 'accuracy', 0.0)
        if target and self._set not in sets:
            known = ', '.join(sets) or 'none is there'
            raise ConfigError(
                f'best={target!r} names no verification set of this run ({known}){nearest(self._set, sets)}'
            )
        if target and self._figure not in sets[self._set]:
            known = ', '.join(f'{self._set}:{figure}' for figure in sets[self._set])
            raise ConfigError(f'best={target!r}: {self._set} has no such figure; it may be {known}')
        self.score = float('-inf')

    def improved(self, verifications: Mapping[str, Evaluation]) -> bool:
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
            f'best={target!r} is not a set with a figure: SET, SET:accuracy, SET:auc, SET:eer or SET:tar@0.001, of '
            'labelled images SET:top1, SET:top5 or SET:loss'
        )
    return name, figure, far
