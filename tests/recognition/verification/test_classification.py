"""Figures of a classification against hand-counted ones and scipy's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special, stats

from recognition.verification.classification import (
    MAX_LISTED_CLASSES,
    are_probabilities,
    classify,
    logarithms,
    softmax,
)


def test_figures_are_those_of_scipy_whatever_the_batches():
    random = np.random.RandomState(0)
    scores, labels = random.normal(0, 3, (57, 11)), random.randint(0, 11, 57)
    found = classify((scores[part], labels[part]) for part in (slice(0, 20), slice(20, 21), slice(21, 57)))
    probabilities = special.log_softmax(scores, axis=1)[np.arange(57), labels]
    order = np.argsort(-scores, axis=1)
    assert found.loss == pytest.approx(-probabilities.mean(), rel=1e-12)
    assert found.top1 == np.mean(order[:, 0] == labels)
    assert found.top5 == np.mean((order[:, :5] == labels[:, None]).any(axis=1))
    interval = stats.binomtest(round(found.top1 * 57), 57).proportion_ci(method='wilson')
    assert found.top1_interval == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.confusion.sum() == 57
    assert found.confusion[3, 7] == np.sum((labels == 3) & (order[:, 0] == 7))


def test_equal_scores_are_won_by_the_lower_class_in_top1_and_confusion_alike():
    found = classify([(np.zeros((8, 8)), np.arange(8))])
    assert (found.top1, found.top5) == (1 / 8, 5 / 8)
    assert found.confusion[:, 0].tolist() == [1] * 8


def test_large_scores_do_not_overflow():
    assert classify([(np.array([[1e4, 0.0]]), [1])]).loss == 1e4
    np.testing.assert_array_equal(softmax(np.array([[1e4, 0.0]])), [[1.0, 0.0]])


def test_figures_are_json_and_a_large_confusion_matrix_is_left_out():
    small = classify([(np.eye(3), [0, 1, 2])]).as_dict()
    assert json.loads(json.dumps(small))['confusion'] == np.eye(3, dtype=int).tolist()
    count = MAX_LISTED_CLASSES + 1
    assert 'confusion' not in classify([(np.eye(count), np.arange(count))]).as_dict()


def test_no_image_is_refused():
    with pytest.raises(ValueError, match='no images'):
        classify([])


def test_probabilities_are_those_of_scipy_and_known_from_logits():
    scores = np.random.RandomState(1).normal(0, 3, (5, 4))
    rows = softmax(scores)
    np.testing.assert_allclose(rows, special.softmax(scores, axis=1), rtol=1e-12)
    np.testing.assert_allclose(softmax(logarithms(rows)), rows, rtol=1e-12)
    assert logarithms(np.zeros((1, 1))) == pytest.approx(np.log(2.0**-126))
    assert are_probabilities(rows)
    assert are_probabilities(np.array([[0.0, 1.0005]]))
    assert not are_probabilities(scores)
    assert not are_probabilities(np.array([[-0.1, 1.1]]))
    assert not are_probabilities(np.array([[0.0, 1.0], [0.5, 0.502]]))
