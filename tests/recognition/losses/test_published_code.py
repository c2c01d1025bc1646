"""The losses against numbers that the code of their authors gave (tests/reference/README.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from config import resolve
from recognition.losses.factory import build_loss

import mxnet as mx

REFERENCE = json.loads((Path(__file__).parents[2] / 'reference' / 'losses.json').read_text('utf-8'))
CLASSES, SIZE, SAMPLES = 6, 5, 8
SETTINGS = {
    'adaface of a batch': {'loss': 'adaface', 'adaface_h': 1.0, 'adaface_mom': 0.0},
    'combined': {'loss': 'arcface', 'loss_m2': 0.3, 'loss_m3': 0.2},
    'all three': {'loss': 'arcface', 'loss_m1': 1.2, 'loss_m2': 0.4, 'loss_m3': 0.15},
}
CLASSIFIERS = sorted(name for name, row in REFERENCE.items() if 'logits' in row)


def inputs(step, centres):
    """Return what tests/reference/README.md prescribes: (weight, embeddings, labels)."""
    weight = np.random.RandomState(1).randn(CLASSES * centres, SIZE)
    draw = np.random.RandomState(10 + step)
    labels = draw.randint(0, CLASSES, SAMPLES)
    own = weight[labels * centres]
    x = own / np.linalg.norm(own, axis=1, keepdims=True) + 0.35 * draw.randn(SAMPLES, SIZE)
    lengths = draw.uniform(5, 205, (SAMPLES, 1))
    return weight, lengths * x / np.linalg.norm(x, axis=1, keepdims=True), labels


def built(name):
    settings = dict(SETTINGS.get(name, {'loss': name}))
    block = build_loss(
        resolve('r18', 'folder', settings.pop('loss'), num_classes=CLASSES, emb_size=SIZE, **settings)
    )
    block.initialize()
    block.cast('float64')
    return block


def array(values):
    return mx.nd.array(values, dtype='float64')


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_the_second_step_of_a_classifier_is_that_of_its_code(name):
    row, block = REFERENCE[name], built(name)
    rounded = 1e-8 if row['float64'] else 3e-5  # of the largest value
    for step in (0, 1):
        weight, x, labels = inputs(step, block.centres)
        block.fc7_weight.set_data(array(weight))
        embedding = array(x)
        embedding.attach_grad()
        with mx.autograd.record():
            losses, logits, *states = block(embedding, array(labels))
            loss = losses.mean()
        loss.backward()
        for state, value in zip(block.states, states):
            state.set_data(value)
    found = {
        'loss': loss.asnumpy(),
        'logits': logits.asnumpy(),
        'gradient': embedding.grad.asnumpy(),
        'weight_gradient': block.fc7_weight.grad().asnumpy(),
        'states': np.array([float(state.asnumpy().item()) for state in states]),
    }
    for key, ours in found.items():
        theirs = np.array(row[key])
        assert ours.size == theirs.size
        if ours.size:
            limit = rounded * np.abs(theirs).max()
            np.testing.assert_allclose(ours.ravel(), theirs.ravel(), rtol=0, atol=limit, err_msg=key)


@pytest.mark.parametrize('name', ['triplet', 'atriplet'])
def test_a_triplet_costs_what_insightface_s_code_says(name):
    """Anchor, positive and negative of its batch are a bag of three here, of which the first is the anchor."""
    x = np.random.RandomState(12).randn(3, SIZE)
    embedding = array([x[0], x[0] + 0.8 * x[1], x[0] + x[2]])
    embedding.attach_grad()
    block = build_loss(resolve('r18', 'folder', name, triplet_alpha=0.7))
    with mx.autograd.record():
        loss = block(embedding, array([0, 0, 1]))[0][0]
    loss.backward()
    assert loss.asscalar() == pytest.approx(REFERENCE[name]['loss'], rel=1e-6)
    np.testing.assert_allclose(embedding.grad.asnumpy().ravel(), REFERENCE[name]['gradient'], atol=1e-6)
