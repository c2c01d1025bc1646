"""In which order an epoch goes through the images of a data set: a function of the epoch's random numbers.

A new kind of order is one function here, one row in SAMPLERS and one name in the config's `data_sampler`.
"""

from __future__ import annotations

from typing import Callable, Dict

import numpy as np

Sampler = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def shuffle(labels: np.ndarray, per_identity: int, rng: np.random.Generator) -> np.ndarray:
    """Return every image once, in any order."""
    return rng.permutation(len(labels))


def balanced(labels: np.ndarray, per_identity: int, rng: np.random.Generator) -> np.ndarray:
    """Return groups of `per_identity` images of one identity, in any order, so that all images come.

    An identity whose images do not fill its last group gives some of them again. Whatever the random numbers, an
    epoch has the same length.
    """
    by_identity = np.split(np.argsort(labels, kind='stable'), np.flatnonzero(np.diff(np.sort(labels))) + 1)
    groups = []
    for images in by_identity:
        count = -(-len(images) // per_identity)
        groups.append(np.resize(rng.permutation(images), (count, per_identity)))
    stacked = np.concatenate(groups)
    return stacked[rng.permutation(len(stacked))].ravel()


SAMPLERS: Dict[str, Sampler] = {'shuffle': shuffle, 'balanced': balanced}
