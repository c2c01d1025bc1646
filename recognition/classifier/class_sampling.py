"""Partial FC: which classes a step sees, those of its batch and others drawn at random."""

from __future__ import annotations

import numpy as np


def sample_classes(
    positives: np.ndarray, identities: int, rate: float, draw: np.random.Generator
) -> np.ndarray:
    """Return identities in [0, `identities`) in ascending order: all `positives`, and others drawn without replacement.

    Together they are the share `rate` of all, at least one; where the positives alone are more, they are all there is.
    Every identity that is none of the positives is as likely as any other.
    Source: An et al. 2021, 'Partial FC', section 3.3; InsightFace's `sample_rate`.
    """
    own = np.unique(positives)
    others = max(0, max(1, int(rate * identities)) - len(own))
    ranks = np.sort(draw.choice(identities - len(own), others, replace=False, shuffle=False))
    # rank k is that of the k-th identity which is no positive: as many positives are passed over as stand before it
    drawn = ranks + np.searchsorted(own - np.arange(len(own)), ranks, side='right')
    return np.sort(np.concatenate([own, drawn]))
