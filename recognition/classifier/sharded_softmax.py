"""The softmax over identities that are not all at one place: what each place says of its own, put together.

Four numbers for each of N samples stand for the logits of some identities, as rows of an array (4, N):

TOP, the greatest logit; REST, how far the logarithm of the sum of their exponentials is above it; OWN, the logit of the
sample's own identity, 0 where that is not among them; BEST, the identity with the greatest logit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import mxnet as mx

TOP, REST, OWN, BEST = range(4)


def summarise(logits: mx.nd.NDArray, positions: mx.nd.NDArray) -> mx.nd.NDArray:
    """Return the four rows (4, N) for logits (N, C); positions (N,): each sample's own column, or -1.

    BEST is a column here, exact up to 2^24. REST is log(1 / the greatest probability), which loses no digits however
    great the logits are.
    """
    best = logits.argmax(axis=1)
    top = logits.pick(best, axis=1)
    greatest = mx.nd.softmax(logits, axis=1).pick(best, axis=1)
    own = mx.nd.where(positions >= 0, logits.pick(positions, axis=1), mx.nd.zeros_like(top))
    return mx.nd.stack(top, -mx.nd.log(greatest), own, best)


def combine(parts: Any) -> np.ndarray:
    """Return (4, N), in float64, for all identities together of which `parts` (K, 4, N) each saw some."""
    parts = np.asarray(parts, np.float64)
    top = parts[:, TOP].max(axis=0)
    first = np.argmax(parts[:, TOP], axis=0)
    with np.errstate(all='ignore'):  # what is not finite is found by whoever looks at the loss
        rest = np.log(np.exp(parts[:, TOP] + parts[:, REST] - top).sum(axis=0))
    best = parts[first, BEST, np.arange(parts.shape[2])]
    return np.stack([top, rest, parts[:, OWN].sum(axis=0), best])


def log_total(scores: np.ndarray) -> np.ndarray:
    """Return the logarithm of the sum of the exponentials of the logits (..., N) of scores (..., 4, N)."""
    return scores[..., TOP, :] + scores[..., REST, :]


def cross_entropy(scores: np.ndarray) -> np.ndarray:
    """Return the cross-entropy (N,) of scores (4, N) of all identities."""
    return scores[TOP] - scores[OWN] + scores[REST]
