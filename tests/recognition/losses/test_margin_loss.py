"""The losses with a margin as a whole: their gradients, their numbers in every mode, and that they train."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers.margins import MARGINS, build, formula

import mxnet as mx


def embedding_at(angles, emb_size=4, length=3.0):
    """Return embeddings (N, D) at these angles from the first axis."""
    embedding = np.zeros((len(angles), emb_size))
    embedding[:, 0], embedding[:, 1] = np.cos(angles), np.sin(angles)
    return embedding * length


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('name', [*MARGINS, 'softmax'])
def test_loss_gradient_by_embedding_and_weight_is_the_finite_difference(name, hybrid):
    angles = np.array([0.0, 0.01, 0.7, 1.5, 2.2, 2.9, 3.13, math.pi])
    block = build(name, loss_s=4.0, fc7_no_bias=True)
    block.cast('float64')
    block.hybridize(hybrid)
    rng = np.random.default_rng(3)
    start = {'embedding': embedding_at(angles), 'weight': rng.normal(size=(3, 4))}
    start['weight'][0] = [2, 0, 0, 0]
    label = mx.nd.zeros(len(angles))

    def forward(values):
        block.fc7_weight.set_data(mx.nd.array(values['weight'], dtype='float64'))
        embedding = mx.nd.array(values['embedding'], dtype='float64')
        embedding.attach_grad()
        with mx.autograd.record():
            loss = block(embedding, label)[0]
        return embedding, loss

    embedding, loss = forward(start)
    loss.backward()
    found = {'embedding': embedding.grad.asnumpy(), 'weight': block.fc7_weight.grad().asnumpy()}
    for key, value in start.items():
        for _ in range(12):
            direction = rng.normal(size=value.shape)
            change = [
                forward({**start, key: value + sign * 1e-6 * direction})[1].asnumpy().sum()
                for sign in (1, -1)
            ]
            numeric = (change[0] - change[1]) / 2e-6
            np.testing.assert_allclose((found[key] * direction).sum(), numeric, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('sign', [1, -1])
@pytest.mark.parametrize('name', MARGINS)
def test_embeddings_on_their_own_identity_never_give_nan(name, sign, hybrid):
    rng = np.random.default_rng(0)
    identities = rng.normal(size=(500, 64)).astype('float32')
    block = build(name, num_classes=500, emb_size=64)
    block.fc7_weight.set_data(mx.nd.array(identities))
    block.hybridize(hybrid)
    embedding = mx.nd.array(sign * 7 * identities)
    embedding.attach_grad()
    label = mx.nd.arange(500)
    with mx.autograd.record():
        loss, logits = block(embedding, label)
    loss.backward()
    units = [mx.nd.L2Normalization(mx.nd.array(v)) for v in (embedding, identities)]
    raw = mx.nd.FullyConnected(*units, no_bias=True, num_hidden=500).asnumpy().diagonal()
    assert (np.abs(raw) > 1).any()  # rounding does go beyond the ends here
    for values in (loss, logits, embedding.grad, block.fc7_weight.grad()):
        assert np.isfinite(values.asnumpy()).all()
    # The slope is steep near the ends, the embedding's gradient must not be: |d theta / d x| = 1 / |x|.
    length = np.linalg.norm(embedding.asnumpy(), axis=1)
    assert (np.linalg.norm(embedding.grad.asnumpy(), axis=1) * length < 64 * 2.1).all()


@pytest.mark.parametrize('name', MARGINS)
def test_float32_gradient_near_the_identity_agrees_with_float64(name):
    angles = np.array([3e-3, 1e-2, 0.1, 1.5, 3.0, 3.13])
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(3, 4))
    weight[0] = [1, 0, 0, 0]
    gradients = []
    for dtype in ('float32', 'float64'):
        block = build(name, loss_s=16.0)
        block.cast(dtype)
        block.fc7_weight.set_data(mx.nd.array(weight, dtype=dtype))
        embedding = mx.nd.array(embedding_at(angles), dtype=dtype)
        embedding.attach_grad()
        with mx.autograd.record():
            loss = block(embedding, mx.nd.zeros(len(angles)))[0]
        loss.backward()
        gradients.append(embedding.grad.asnumpy())
    np.testing.assert_allclose(*gradients, atol=2e-2)  # a float32 cosine knows 3e-3 to one part in 150


@pytest.mark.parametrize('name', [*MARGINS, 'softmax'])
def test_zero_embedding_is_finite(name):
    block = build(name)
    embedding = mx.nd.zeros((2, 4))
    embedding.attach_grad()
    with mx.autograd.record():
        loss, logits = block(embedding, mx.nd.array([0, 2]))
    loss.backward()
    for values in (loss, logits, embedding.grad):
        assert np.isfinite(values.asnumpy()).all()
    if name == 'nsoftmax':
        np.testing.assert_allclose(loss.asnumpy(), math.log(3), rtol=1e-5)


@pytest.mark.parametrize('name', [*MARGINS, 'softmax'])
def test_three_faces_agree(name):
    block = build(name)
    rng = np.random.default_rng(1)
    embedding, label = mx.nd.array(rng.normal(size=(6, 4))), mx.nd.array([0, 1, 2, 2, 1, 0])
    embedding.attach_grad()

    def run():
        with mx.autograd.record():
            loss, logits = block(embedding, label)
        loss.backward()
        return [v.asnumpy() for v in (loss, logits, embedding.grad, block.fc7_weight.grad())]

    imperative = run()
    block.hybridize()
    hybrid = run()
    symbol = mx.sym.Group(list(block(mx.sym.var('data'), mx.sym.var('label'))))
    bound = symbol.simple_bind(mx.cpu(), data=embedding.shape, label=label.shape)
    bound.copy_params_from({k: v.data() for k, v in block.collect_params().items()})
    outputs = bound.forward(is_train=True, data=embedding, label=label)
    bound.backward([mx.nd.ones(6), mx.nd.zeros((6, 3))])
    symbolic = [v.asnumpy() for v in (*outputs, bound.grad_dict['data'], bound.grad_dict['fc7_weight'])]
    assert imperative[0].shape == (6,)
    assert imperative[1].shape == (6, 3)
    for one, two, three in zip(imperative, hybrid, symbolic):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(one, three, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', [*MARGINS, 'softmax'])
def test_logits_and_loss_against_numpy(name):
    block = build(name)
    rng = np.random.default_rng(5)
    block.fc7_weight.set_data(mx.nd.array(rng.normal(size=(3, 4))))
    x, y = rng.normal(size=(8, 4)), np.array([0, 1, 2, 2, 1, 0, 0, 1])
    w = block.fc7_weight.data().asnumpy().astype('float64')
    if name == 'softmax':
        block.fc7_bias.set_data(mx.nd.array([0.5, -1, 2]))
        expected = x @ w.T + [0.5, -1, 2]
    else:
        unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, w)]
        cos = unit[0] @ unit[1].T
        cos[np.arange(8), y] = formula(cos[np.arange(8), y], *MARGINS[name][0])
        expected = 64 * cos
    loss, logits = block(mx.nd.array(x), mx.nd.array(y, dtype='int32'))
    shifted = expected - expected.max(1, keepdims=True)
    expected_loss = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(8), y]
    np.testing.assert_allclose(logits.asnumpy(), expected, atol=1e-4)
    np.testing.assert_allclose(loss.asnumpy(), expected_loss, atol=2e-4)


def test_softmax_loss_is_stable_for_large_logits():
    block = build('softmax', num_classes=2, emb_size=1, fc7_no_bias=True)
    block.fc7_weight.set_data(mx.nd.array([[1e4], [-1e4]]))
    embedding = mx.nd.array([[1.0], [-1.0]])
    embedding.attach_grad()
    with mx.autograd.record():
        loss, _ = block(embedding, mx.nd.array([0, 0]))
    loss.backward()
    np.testing.assert_allclose(loss.asnumpy(), [0, 2e4], atol=5e-6)
    np.testing.assert_allclose(embedding.grad.asnumpy(), [[0], [-2e4]], atol=0.1)


def test_a_margin_makes_the_loss_larger_and_training_lowers_it():
    mx.random.seed(0)
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    centres = rng.normal(size=(3, 4))
    embedding = mx.nd.array(centres[labels] + 0.1 * rng.normal(size=(24, 4)))
    for name in ('arcface', 'cosface', 'all three'):
        block = build(name, loss_s=16.0)
        trainer = mx.gluon.Trainer(block.collect_params(), 'sgd', {'learning_rate': 0.005})
        losses = []
        for _ in range(60):
            with mx.autograd.record():
                loss, _ = block(embedding, mx.nd.array(labels))
            loss.backward()
            trainer.step(24)
            losses.append(float(loss.mean().asscalar()))
        assert losses[-1] < 0.5 * losses[0]
        plain = build('nsoftmax', loss_s=16.0)
        plain.fc7_weight.set_data(block.fc7_weight.data())
        assert float(plain(embedding, mx.nd.array(labels))[0].mean().asscalar()) < losses[-1]
