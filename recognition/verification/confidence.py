"""95 % intervals of what few measurements and counts tell."""

from __future__ import annotations

import math
from typing import Sequence, Tuple

import numpy as np

Interval = Tuple[float, float]

NORMAL = 1.959963984540054  # the normal distribution's quantile at 0.975
# Student's t at 0.975 by degrees of freedom, 1 to 9; beyond, a series is exact to four digits.
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)


def student(freedom: int) -> float:
    """Return the quantile at 0.975 of Student's t with so many degrees of freedom (Abramowitz and Stegun, 26.7.5)."""
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = NORMAL
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def of_mean(values: Sequence[float]) -> Interval:
    """Return the interval of the mean of two values at least, by Student's t; shares stay within 0 and 1.

    The folds of a cross-validation share their training pairs, so that theirs is somewhat too narrow.
    """
    count = len(values)
    half = student(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    mean = float(np.mean(values))
    return max(0.0, mean - half), min(1.0, mean + half)


def of_share(hits: int, count: int) -> Interval:
    """Return the interval of a share of which `hits` of `count` cases were seen (Wilson 1927)."""
    share, squared = hits / count, NORMAL**2
    centre = (share + squared / (2 * count)) / (1 + squared / count)
    half = NORMAL * math.sqrt(share * (1 - share) / count + squared / (4 * count**2)) / (1 + squared / count)
    return max(0.0, centre - half), min(1.0, centre + half)
