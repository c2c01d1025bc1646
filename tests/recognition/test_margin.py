"""The margins against plain float64 formulas and finite differences, at every angle and in every mode."""

from __future__ import annotations

import math

import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.losses import build_loss
from recognition.margin import (
    ArcFace,
    CombinedMargin,
    CosFace,
    NormalizedSoftmax,
    angle,
    check_labels,
    sine,
)

import mxnet as mx
from mxnet.gluon import HybridBlock

MARGINS = {  # name: (m1, m2, m3), class
    'nsoftmax': ((1.0, 0.0, 0.0), NormalizedSoftmax),
    'cosface': ((1.0, 0.0, 0.35), CosFace),
    'arcface': ((1.0, 0.5, 0.0), ArcFace),
    'wide arcface': ((1.0, 2.0, 0.0), ArcFace),
    'combined': ((1.0, 0.3, 0.2), ArcFace),
    'multiplied': ((1.35, 0.0, 0.0), CombinedMargin),
    'all three': ((1.2, 0.4, 0.15), CombinedMargin),
    'below one': ((0.9, 0.0, 0.1), CombinedMargin),
    'sphereface': ((4.0, 0.0, 0.0), CombinedMargin),
}
ANGULAR = [name for name in MARGINS if name != 'nsoftmax']
MODES = ('imperative', 'hybrid', 'symbol')
ENDS = [-1.0, np.nextafter(np.float32(-1), np.float32(0)), np.nextafter(np.float32(1), np.float32(0)), 1.0]
BEYOND = [-1.0000002, -1.0000001, 1.0000001, 1.0000002]
INSIDE = np.cos(np.linspace(0.001, math.pi - 0.001, 301))


def config(**changes):
    base = {
        'loss_name': 'margin_softmax', 'loss_s': 64.0, 'loss_m1': 1.0, 'loss_m2': 0.5, 'loss_m3': 0.0,
        'loss_centres': 1, 'num_classes': 3, 'emb_size': 4, 'fc7_lr_mult': 1.0,
        'fc7_wd_mult': 1.0, 'fc7_no_bias': False,
    }  # fmt: skip
    return {**base, **changes}


def build(name, **changes):
    if name == 'softmax':
        changes['loss_name'] = name
    else:
        changes.update(zip(('loss_m1', 'loss_m2', 'loss_m3'), MARGINS[name][0]))
    block = build_loss(config(**changes))
    block.initialize()
    return block


def formula(cos, m1, m2, m3):
    """Return cos(phi) - m3 for phi = m1 * theta + m2, in float64; past pi as the classes say."""
    cos = np.clip(np.asarray(cos, np.float64), -1, 1)
    phi = np.arccos(cos) * m1 + m2
    if m1 == 1:  # a line of slope 1
        return np.where(phi <= math.pi, np.cos(phi), cos - math.cos(math.pi - m2) - 1) - m3
    turns = np.floor(phi / math.pi)
    return (-1) ** turns * np.cos(phi) - 2 * turns - m3


class Adjust(HybridBlock):
    """What a margin does to given scaled cosines, as a block, so that it can be hybridised."""

    def __init__(self, loss):
        super().__init__(prefix='')
        self.adjust = loss.adjust  # the method alone, so that the loss is no child with parameters

    def hybrid_forward(self, F, scaled, label):
        return self.adjust(F, scaled, label)


def run_adjust(name, cosines, mode, dtype='float32'):
    """Return logits / s (N, 3), the gradient (N, 3) of the own ones by the cosines, and the labels (N,)."""
    loss = build(name)
    own = np.asarray(cosines, dtype)
    labels = np.arange(own.size, dtype='float32') % 3
    scaled = np.full((own.size, 3), 0.125, dtype)
    scaled[np.arange(own.size), labels.astype(int)] = own
    head = mx.nd.array(np.eye(3)[labels.astype(int)], dtype=dtype)
    data, label = mx.nd.array(64 * scaled, dtype=dtype), mx.nd.array(labels)
    if mode == 'symbol':
        symbol = loss.adjust(mx.sym, mx.sym.var('scaled', dtype=dtype), mx.sym.var('label'))
        bound = symbol.simple_bind(mx.cpu(), scaled=data.shape, label=label.shape)
        logits = bound.forward(is_train=True, scaled=data, label=label)[0]
        bound.backward(head)
        gradient = bound.grad_dict['scaled']
    else:
        block = Adjust(loss)
        block.hybridize(mode == 'hybrid')
        data.attach_grad()
        with mx.autograd.record():
            logits = block(data, label)
        logits.backward(head)
        gradient = data.grad
    return logits.asnumpy() / 64, gradient.asnumpy(), labels.astype(int)


def own_of(values, labels):
    return values[np.arange(len(labels)), labels]


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', ANGULAR)
def test_value_is_the_formula_at_every_cosine(name, mode):
    cosines = [*INSIDE, *ENDS, 0.0]
    for dtype, tolerance in (('float32', 4e-7), ('float64', 1e-13)):
        logits, _, labels = run_adjust(name, cosines, mode, dtype)
        expected = formula(np.asarray(cosines, dtype), *MARGINS[name][0])
        np.testing.assert_allclose(own_of(logits, labels), expected, rtol=0, atol=tolerance * 4)
        others = np.ones_like(logits, bool)
        others[np.arange(len(labels)), labels] = False
        assert (logits[others] == 0.125).all()


@pytest.mark.parametrize('name', ANGULAR)
def test_value_is_insightfaces_up_to_pi(name):
    m1, m2, m3 = MARGINS[name][0]
    angles = np.linspace(0, min(math.pi, (math.pi - m2) / m1) - 1e-6, 500)
    logits, _, labels = run_adjust(name, np.cos(angles), 'imperative', 'float64')
    expected = np.cos(np.arccos(np.cos(angles)) * m1 + m2) - m3
    np.testing.assert_allclose(own_of(logits, labels), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', ANGULAR)
def test_gradient_is_the_finite_difference(name, mode):
    m1, m2, m3 = MARGINS[name][0]
    turns = [math.cos((k * math.pi - m2) / m1) for k in range(1, 9) if k * math.pi - m2 <= m1 * math.pi]
    cosines = INSIDE[
        np.all([np.abs(INSIDE - turn) > 1e-6 for turn in turns or [9]], axis=0)
    ]  # the slope jumps there
    _, gradient, labels = run_adjust(name, cosines, mode, 'float64')
    step = (1 - cosines**2) * 1e-4
    numeric = (formula(cosines + step, m1, m2, m3) - formula(cosines - step, m1, m2, m3)) / (2 * step)
    np.testing.assert_allclose(own_of(gradient, labels), numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', ANGULAR)
def test_float32_ends_and_beyond_are_finite_and_monotone(name, mode):
    cosines = [*ENDS, *BEYOND, 0.0]
    logits, gradient, labels = run_adjust(name, cosines, mode)
    assert np.isfinite(logits).all()
    assert np.isfinite(gradient).all()
    own = own_of(logits, labels)
    np.testing.assert_allclose(own, formula(cosines, *MARGINS[name][0]), rtol=0, atol=2e-6)
    order = np.argsort(cosines, kind='stable')
    assert (np.diff(own[order]) >= 0).all()
    assert np.abs(own_of(gradient, labels)).max() < 1e4


@pytest.mark.parametrize('name', ANGULAR)
def test_target_never_falls_as_the_cosine_rises(name):
    cosines = np.cos(np.linspace(math.pi, 0, 4001))
    logits, gradient, labels = run_adjust(name, cosines, 'imperative', 'float64')
    assert (np.diff(own_of(logits, labels)) >= 0).all()
    assert (own_of(gradient, labels)[:-1] >= -1e-12).all()  # the slope at 1 itself is a convention


@pytest.mark.parametrize('name', ['arcface', 'combined'])
def test_slopes_past_pi_and_at_the_ends_are_the_documented_ones(name):
    m1, m2, _ = MARGINS[name][0]
    _, gradient, labels = run_adjust(name, [-1.0, -0.999, 1.0], 'imperative', 'float64')
    at_one = math.cos(m2) if m1 == 1 else 0.0
    np.testing.assert_allclose(own_of(gradient, labels), [1, 1, at_one], atol=1e-12)


def test_float32_sine_and_angle_keep_their_digits_near_the_ends():
    cosines = np.cos(np.concatenate([np.geomspace(1e-3, 1, 200), math.pi - np.geomspace(1e-3, 1, 200)]))
    cosines = cosines.astype('float32')
    theta = np.arccos(cosines.astype('float64'))
    np.testing.assert_allclose(sine(mx.nd, mx.nd.array(cosines)).asnumpy(), np.sin(theta), rtol=5e-7)
    np.testing.assert_allclose(angle(mx.nd, mx.nd.array(cosines)).asnumpy(), theta, rtol=5e-7)


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


@pytest.mark.parametrize('name', MARGINS)
def test_presets_choose_the_class(name):
    assert type(build(name)) is MARGINS[name][1]


@pytest.mark.parametrize('name', [*MARGINS, 'softmax'])
def test_names_are_the_same_whatever_was_built_before(name):
    def graph():
        block = build(name)
        return mx.sym.Group(list(block(mx.sym.var('fc1'), mx.sym.var('label'))))

    first = graph()
    _ = mx.sym.sqrt(mx.sym.var('other')) * 2 + 1  # moves mxnet's own counters
    assert graph().tojson() == first.tojson()
    nodes = first.get_internals().list_outputs()
    assert len(set(nodes)) == len(nodes)
    assert {'fc7_output', 'fc7_weight', 'loss_output'} <= set(nodes)


def test_parameters_are_insightfaces():
    block = build_loss(config(loss_name='softmax', fc7_lr_mult=3.0, fc7_wd_mult=5.0))
    shapes = {name: p.shape for name, p in block.collect_params().items()}
    assert shapes == {'fc7_weight': (3, 4), 'fc7_bias': (3,)}
    loss, _ = block(mx.sym.var('fc1'), mx.sym.var('label'))
    attributes = loss.attr_dict()
    assert (
        float(attributes['fc7_weight']['__lr_mult__']),
        float(attributes['fc7_weight']['__wd_mult__']),
    ) == (3, 5)
    assert (float(attributes['fc7_bias']['__lr_mult__']), float(attributes['fc7_bias']['__wd_mult__'])) == (
        2,
        0,
    )
    for changes in ({'loss_name': 'softmax', 'fc7_no_bias': True}, {}):
        assert list(build_loss(config(**changes)).collect_params()) == ['fc7_weight']


def test_weight_starts_with_deviation_one_hundredth_under_any_initialiser():
    block = build_loss(config(num_classes=200, emb_size=100))
    block.initialize(mx.init.Xavier(magnitude=50))
    assert block.fc7_weight.data().asnumpy().std() == pytest.approx(0.01, rel=0.05)


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


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'loss_name': 'margin_softmx'}, "did you mean 'margin_softmax'"),
        ({'loss_s': 0.0}, 'loss_s=0.0'),
        ({'loss_m1': 0.0}, 'loss_m1'),
        ({'loss_m2': 3.2}, 'loss_m2'),
        ({'loss_m2': float('nan')}, 'loss_m2'),
        ({'num_classes': 0}, 'num_classes=0'),
        ({'emb_size': 0}, 'emb_size=0'),
    ],
)
def test_bad_settings_are_named(changes, words):
    with pytest.raises(ConfigError, match=words):
        build_loss(config(**changes))


@pytest.mark.parametrize('bad', [-1, 3, 2.5, float('nan'), float('inf')])
def test_check_labels_names_the_first_bad_label(bad):
    with pytest.raises(DataError, match=r'position 2 of the batch.*from 0 to 2'):
        check_labels(np.array([0, 1, bad, 7], 'float32'), 3)


@pytest.mark.parametrize('dtype', ['float32', 'int64', 'uint8'])
def test_check_labels_accepts_every_identity(dtype):
    check_labels(np.array([0, 1, 2], dtype), 3)
