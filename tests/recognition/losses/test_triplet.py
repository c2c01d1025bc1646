"""Triplet losses against their formula, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from recognition.losses.factory import build_loss

import mxnet as mx

NAMES = ('triplet', 'atriplet')


def distances(x, name):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cos = np.clip(unit @ unit.T, -1, 1)
    return 2 - 2 * cos if name == 'triplet' else np.arccos(cos)


def formula(x, labels, name, alpha, limit=0.0):
    d, losses = distances(x, name), []
    for i, label in enumerate(labels):
        others = [j for j in range(len(x)) if j != i and labels[j] == label]
        positives = [d[i, j] for j in others if not limit or d[i, j] <= limit]
        negatives = [d[i, j] for j in range(len(x)) if labels[j] != label]
        losses.append(max(0.0, max(positives) - min(negatives) + alpha) if positives and negatives else 0.0)
    return np.array(losses)


def data(seed=0, size=12):
    draw = np.random.RandomState(seed)
    labels = draw.randint(0, 4, size)
    labels[0] = 9  # alone
    return draw.randn(4, 6)[labels % 4] + 0.6 * draw.randn(size, 6), labels


def run(name, x, labels, hybrid=False, **settings):
    block = build_loss(resolve('r18', 'folder', name, **settings))
    block.initialize()
    block.hybridize(hybrid)
    embedding = mx.nd.array(x, dtype='float64')
    embedding.attach_grad()
    with mx.autograd.record():
        loss, scores = block(embedding, mx.nd.array(labels, dtype='float64'))
    loss.backward()
    return loss.asnumpy(), scores, embedding.grad.asnumpy(), block


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('limit', [0.0, 0.8])
@pytest.mark.parametrize('name', NAMES)
def test_the_loss_is_that_of_the_hardest_triplets_of_the_batch(name, limit, hybrid):
    x, labels = data()
    loss, scores, _, block = run(name, x, labels, hybrid, triplet_alpha=0.5, triplet_max_ap=limit)
    np.testing.assert_allclose(loss, formula(x, labels, name, 0.5, limit), atol=1e-9)
    assert loss[0] == 0
    assert (loss > 0).sum() > 3
    nearest = (distances(x, name) + 100 * np.eye(len(x))).argmin(1)
    np.testing.assert_array_equal(block.predictions(scores, labels), labels[nearest])


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('name', NAMES)
def test_the_gradient_is_a_finite_difference(name, hybrid):
    x, labels = data(seed=1)
    _, _, gradient, _ = run(name, x, labels, hybrid, triplet_alpha=0.5)
    for position in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[position] += 1e-6
        down[position] -= 1e-6
        numeric = (formula(up, labels, name, 0.5).sum() - formula(down, labels, name, 0.5).sum()) / 2e-6
        assert gradient[position] == pytest.approx(numeric, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('x', [np.ones((4, 3)), np.zeros((4, 3)), np.array([[1.0, 0, 0], [-1, 0, 0]] * 2)])
def test_equal_opposite_and_zero_embeddings_are_finite(name, x):
    loss, scores, gradient, _ = run(name, x, np.array([0, 0, 1, 1]))
    assert all(np.isfinite(array).all() for array in (loss, scores.asnumpy(), gradient))
