"""The cross-entropy of class scores against PyTorch's CrossEntropyLoss (tests/reference/README.md)."""

from __future__ import annotations

import json

import numpy as np
import pytest

from config import resolve
from recognition.losses.class_scores import balanced_weights
from recognition.losses.factory import build_loss

import mxnet as mx

CASES = 4


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('number', range(CASES))
def test_loss_and_gradient_are_those_of_pytorch(reference, number, hybrid):
    case = json.loads((reference / 'pytorch' / 'cross_entropy.json').read_text())['cases'][number]
    draw = np.random.RandomState(3)
    scores, labels = mx.nd.array(3 * draw.randn(12, 5)), mx.nd.array(draw.randint(0, 5, 12))
    weights = case['weights']
    block = build_loss(
        resolve('r18', 'images', 'classes', label_smoothing=case['smoothing'], class_weights=weights)
    )
    block.initialize()
    if hybrid:
        block.hybridize()
    scores.attach_grad()
    with mx.autograd.record():
        loss, given = block(scores, labels)
        total = np.array(weights)[labels.asnumpy().astype(int)].sum() if weights else 12
        mean = loss.sum() / total
    mean.backward()
    assert mean.asscalar() == pytest.approx(case['loss'], rel=1e-6)
    np.testing.assert_allclose(scores.grad[:3].asnumpy().ravel(), case['gradient'], rtol=1e-4, atol=1e-7)
    assert np.array_equal(block.predictions(given, labels), scores.asnumpy().argmax(axis=1))


def test_balanced_weights_are_higher_the_rarer_the_class():
    labels = np.repeat([0, 1, 2], [6, 3, 1])
    assert balanced_weights(labels, 3) == pytest.approx((10 / 18, 10 / 9, 10 / 3))
    assert balanced_weights(labels, 4) == pytest.approx((10 / 24, 10 / 12, 10 / 4, 10 / 4))
