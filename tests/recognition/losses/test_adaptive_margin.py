"""AdaFace, MagFace, CurricularFace and several centres, against float64 formulas written here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from config import resolve
from config.errors import ConfigError
from recognition.losses.factory import LOSSES, build_loss

import mxnet as mx

CLASSES, SIZE, SAMPLES = 5, 6, 12
SCALE = 16.0


def config(loss, **settings):
    small = {'num_classes': CLASSES, 'emb_size': SIZE, 'loss_s': SCALE, 'magface_la': 1.0, 'magface_ua': 6.0}
    return resolve('r18', 'folder', loss, **{**small, **settings})


def build(loss, weight, **settings):
    block = build_loss(config(loss, **settings))
    block.initialize()
    block.cast('float64')
    block.fc7_weight.set_data(mx.nd.array(weight, dtype='float64'))
    return block


def data(seed=0, centres=1):
    draw = np.random.RandomState(seed)
    lengths = draw.uniform(0.3, 8.0, (SAMPLES, 1))
    x = draw.randn(SAMPLES, SIZE)
    x = lengths * x / np.linalg.norm(x, axis=1, keepdims=True)
    return x, draw.randint(0, CLASSES, SAMPLES), draw.randn(CLASSES * centres, SIZE)


def cosines(x, weight):
    unit = [v / np.sqrt(np.sum(v * v, axis=1, keepdims=True) + 1e-10) for v in (x, weight)]
    return unit[0] @ unit[1].T


def shifted(cos, margin):
    theta = np.arccos(np.clip(cos, -1, 1))
    value = np.where(theta + margin <= math.pi, np.cos(theta + margin), cos + np.cos(margin) - 1)
    return np.where(theta + margin < 0, 1.0, value)


def cross_entropy(logits, labels):
    top = logits.max(1, keepdims=True)
    own = logits[np.arange(len(labels)), labels]
    return np.log(np.exp(logits - top).sum(1)) + top[:, 0] - own


def put(cos, labels, own):
    cos = cos.copy()
    cos[np.arange(len(labels)), labels] = own
    return cos


def adaface(x, labels, weight, state=(20.0, 100.0)):
    cos = cosines(x, weight)
    length = np.clip(np.linalg.norm(x, axis=1), 1e-3, 100)
    mean = 0.01 * length.mean() + 0.99 * state[0]
    std = 0.01 * length.std(ddof=1) + 0.99 * state[1]
    quality = np.clip(0.333 * (length - mean) / (std + 1e-3), -1, 1)
    own = shifted(cos[np.arange(SAMPLES), labels], -0.4 * quality) - 0.4 * (1 + quality)
    return cross_entropy(SCALE * put(cos, labels, own), labels), (mean, std)


def magface(x, labels, weight):
    cos = cosines(x, weight)
    a = np.clip(np.linalg.norm(x, axis=1), 1.0, 6.0)
    own = shifted(cos[np.arange(SAMPLES), labels], 0.45 + (0.8 - 0.45) * (a - 1) / 5)
    return cross_entropy(SCALE * put(cos, labels, own), labels) + 35 * (a / 36 + 1 / a), ()


def curricularface(x, labels, weight, state=(0.3,)):
    cos = cosines(x, weight)
    own = cos[np.arange(SAMPLES), labels]
    t = 0.01 * own.mean() + 0.99 * state[0]
    target = shifted(own, 0.5)
    harder = np.where(cos > target[:, None], cos * (t + cos), cos)
    return cross_entropy(SCALE * put(harder, labels, target), labels), (t,)


FORMULAS = {'adaface': adaface, 'magface': magface, 'curricularface': curricularface}
STATES = {'curricularface': (0.3,)}


def run(block, x, labels, hybrid=False):
    block.hybridize(hybrid)
    embedding = mx.nd.array(x, dtype='float64')
    embedding.attach_grad()
    with mx.autograd.record():
        loss, _, *states = block(embedding, mx.nd.array(labels, dtype='float64'))
    loss.backward()
    gradients = embedding.grad.asnumpy(), block.fc7_weight.grad().asnumpy()
    return loss.asnumpy(), [float(state.asnumpy().item()) for state in states], gradients


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('name', sorted(FORMULAS))
def test_the_loss_and_its_state_are_those_of_the_formula(name, hybrid):
    x, labels, weight = data()
    block = build(name, weight)
    for parameter, value in zip(block.states, STATES.get(name, ())):
        parameter.set_data(mx.nd.full((1, 1), value, dtype='float64'))
    loss, states, _ = run(block, x, labels, hybrid)
    expected, expected_states = FORMULAS[name](x, labels, weight)
    np.testing.assert_allclose(loss, expected, rtol=1e-7)
    np.testing.assert_allclose(states, expected_states, rtol=1e-7)


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('name', sorted(FORMULAS))
def test_the_gradients_are_finite_differences(name, hybrid):
    x, labels, weight = data(seed=3)
    block = build(name, weight)
    _, _, (by_embedding, by_weight) = run(block, x, labels, hybrid)
    first = FORMULAS[name](x, labels, weight)[1]
    step, length = 1e-6, np.linalg.norm(x, axis=1)

    def total(x, weight):
        if name == 'adaface':  # no gradient through the quality: hold the lengths of the margin
            cos = cosines(x, weight)
            quality = np.clip(0.333 * (np.clip(length, 1e-3, 100) - first[0]) / (first[1] + 1e-3), -1, 1)
            own = shifted(cos[np.arange(SAMPLES), labels], -0.4 * quality) - 0.4 * (1 + quality)
            return cross_entropy(SCALE * put(cos, labels, own), labels).sum()
        if name == 'curricularface':  # none through t
            cos = cosines(x, weight)
            target = shifted(cos[np.arange(SAMPLES), labels], 0.5)
            t = block_t
            harder = np.where(cos > target[:, None], cos * (t + cos), cos)
            return cross_entropy(SCALE * put(harder, labels, target), labels).sum()
        return magface(x, labels, weight)[0].sum()

    block_t = 0.01 * cosines(x, weight)[np.arange(SAMPLES), labels].mean()
    for position in np.ndindex(3, SIZE):
        for array, gradient in ((x, by_embedding), (weight, by_weight)):
            up, down = array.copy(), array.copy()
            up[position] += step
            down[position] -= step
            sides = [(v, weight) if array is x else (x, v) for v in (up, down)]
            numeric = (total(*sides[0]) - total(*sides[1])) / (2 * step)
            assert gradient[position] == pytest.approx(numeric, rel=2e-5, abs=2e-6)


@pytest.mark.parametrize('sign', [1.0, -1.0])
@pytest.mark.parametrize('name', sorted({*FORMULAS, 'subcenter_arcface'}))
def test_embeddings_on_or_against_their_identity_and_zero_ones_are_finite(name, sign):
    block = build_loss(config(name))
    block.initialize()
    weight = np.random.RandomState(0).randn(*block.fc7_weight.shape).astype('float32')
    block.fc7_weight.set_data(mx.nd.array(weight))
    labels = np.arange(CLASSES)
    rows = weight[labels * block.centres]
    for x in (sign * rows, 1e4 * rows, 1e-4 * rows, 0 * rows):
        embedding = mx.nd.array(x)
        embedding.attach_grad()
        with mx.autograd.record():
            loss, logits, *states = block(embedding, mx.nd.array(labels))
        loss.backward()
        for array in (loss, logits, embedding.grad, block.fc7_weight.grad(), *states):
            assert np.isfinite(array.asnumpy()).all()


def test_the_nearest_of_several_centres_counts():
    x, labels, weight = data(centres=3)
    block = build('subcenter_arcface', weight)
    cos = cosines(x, weight).reshape(SAMPLES, CLASSES, 3).max(2)
    own = shifted(cos[np.arange(SAMPLES), labels], 0.5)
    loss, _, (_, by_weight) = run(block, x, labels)
    np.testing.assert_allclose(loss, cross_entropy(SCALE * put(cos, labels, own), labels), rtol=1e-7)
    nearest = cosines(x, weight).reshape(SAMPLES, CLASSES, 3).argmax(2) + 3 * np.arange(CLASSES)
    assert set(np.flatnonzero(np.abs(by_weight).sum(1))) == set(nearest.ravel())


@pytest.mark.parametrize(
    'name', ['arcface', 'cosface', 'combined', 'sphereface', 'adaface', 'magface', 'nsoftmax']
)
def test_rows_of_some_identities_give_those_columns_of_the_logits(name):
    x, labels, weight = data()
    rows = np.array([3, 0, 4])
    where = np.array([list(rows).index(label) if label in rows else -1 for label in labels])
    whole, part = build(name, weight), build(name, weight[rows], num_classes=3)
    moving = {key: mx.nd.full((1, 1), 2.0, dtype='float64') for key in ('norm_mean', 'norm_std')}
    extra = moving if name == 'adaface' else {}

    def logits(block, label, weight):
        arrays = [mx.nd.array(each, dtype='float64') for each in (x, label)]
        return block.logits(
            mx.nd, *arrays, fc7_weight=mx.nd.array(weight, dtype='float64'), **extra
        ).asnumpy()

    np.testing.assert_allclose(
        logits(part, where, weight[rows]), logits(whole, labels, weight)[:, rows], rtol=1e-9
    )


@pytest.mark.parametrize('bounds', [{'magface_la': 7.0}, {'magface_lm': 1.2}])
def test_bounds_that_cross_are_named(bounds):
    with pytest.raises(ConfigError, match='each lower bound must be below its upper one'):
        build_loss(config('magface', **bounds))


def test_every_kind_of_loss_has_a_preset():
    from config.presets import LOSSES as PRESETS

    assert set(LOSSES) == {row['loss_name'] for row in PRESETS.values()}
