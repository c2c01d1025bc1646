"""Which identities a step sees: all positives, and others at random."""

from __future__ import annotations

import numpy as np
import pytest

from recognition.classifier.class_sampling import sample_classes


def test_all_positives_are_chosen_and_the_others_alike():
    draw = np.random.default_rng(0)
    positives, counts = np.array([3, 17, 3, 0, 39]), np.zeros(40)
    for _ in range(4000):
        found = sample_classes(positives, 40, 0.25, draw)
        assert len(found) == len(set(found)) == 10
        assert (np.diff(found) > 0).all()
        counts[found] += 1
    own = np.unique(positives)
    assert (counts[own] == 4000).all()
    others = np.delete(counts, own)
    assert abs(others - 4000 * 6 / 36).max() < 5 * (4000 * 6 / 36 * 30 / 36) ** 0.5


@pytest.mark.parametrize(
    ('positives', 'rate', 'number'),
    [(range(9), 0.5, 9), ((), 0.0001, 1), (range(10), 0.1, 10), ((), 1.0, 10)],
)
def test_at_the_ends_of_the_range_the_number_is_right(positives, rate, number):
    found = sample_classes(np.array(positives, np.int64), 10, rate, np.random.default_rng(0))
    assert len(found) == number
    assert set(positives) <= set(found)
