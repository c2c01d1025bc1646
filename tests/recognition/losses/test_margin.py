"""The margins against plain float64 formulas and finite differences, at every angle and in every mode."""

from __future__ import annotations

import math

import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.losses.factory import build_loss
from recognition.losses.margin import angle, check_labels, sine
from tests.helpers.margins import MARGINS, build, config, formula

import mxnet as mx
from mxnet.gluon import HybridBlock

ANGULAR = [name for name in MARGINS if name != 'nsoftmax']
MODES = ('imperative', 'hybrid', 'symbol')
ENDS = [-1.0, np.nextafter(np.float32(-1), np.float32(0)), np.nextafter(np.float32(1), np.float32(0)), 1.0]
BEYOND = [-1.0000002, -1.0000001, 1.0000001, 1.0000002]
INSIDE = np.cos(np.linspace(0.001, math.pi - 0.001, 301))


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
