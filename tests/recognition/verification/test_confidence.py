"""Intervals against scipy's quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recognition.verification.confidence import of_mean, of_share, student


@pytest.mark.parametrize('freedom', [*range(1, 31), 99, 1000])
def test_students_quantile(freedom):
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-4)


def test_every_term_of_the_series_counts():
    """The next one would add 1.6e-12 at 1000 degrees of freedom."""
    assert student(1000) == pytest.approx(1.9623390808264080, rel=0, abs=4e-12)


def test_the_interval_of_a_mean():
    values = [0.91, 0.95, 0.9, 0.97, 0.93]
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert of_mean(values) == pytest.approx(expected, rel=1e-4)
    assert of_mean([1.0, 0.98])[1] == 1.0


@pytest.mark.parametrize(('hits', 'count'), [(0, 10), (3, 10), (10, 10), (450, 461), (1, 1)])
def test_the_interval_of_a_share(hits, count):
    expected = stats.binomtest(hits, count).proportion_ci(method='wilson')
    assert of_share(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-9)
