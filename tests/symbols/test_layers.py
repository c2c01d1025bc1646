"""The layers: batch norms, convolutions, pooling with either padding, dense layers."""

from __future__ import annotations

import numpy as np
import pytest

from config import ConfigError
from symbols.ir.padding import check_padding
from symbols.layers import BatchNorm, Conv, Dense, MaxPool, Norm, pair, scale_width

import mxnet as mx


def parameters_of(block):
    return list(block.collect_params().values())


def normalised(x, gamma, beta, mean, var, eps):
    per_channel = (1, -1, 1, 1)
    gamma, beta, mean, var = (value.reshape(per_channel) for value in (gamma, beta, mean, var))
    return (x - mean) / np.sqrt(var + eps) * gamma + beta


@pytest.mark.parametrize('fix_gamma', [False, True])
@pytest.mark.parametrize('hybrid', [False, True])
def test_batch_norm_by_its_formula(fix_gamma, hybrid):
    rng = np.random.RandomState(2)
    norm = Norm(eps=0.1, momentum=0.75)
    block = BatchNorm('bn', 3, norm, fix_gamma=fix_gamma)
    block.initialize()
    values = {'gamma': rng.uniform(0.5, 2, 3), 'beta': rng.randn(3), 'moving_mean': rng.randn(3)}
    values['moving_var'] = rng.uniform(0.5, 2, 3)
    for name, value in values.items():
        block.params[f'bn_{name}'].set_data(mx.nd.array(value))
    if hybrid:
        block.hybridize()
    gamma = np.ones(3) if fix_gamma else values['gamma']
    x = rng.randn(4, 3, 5, 5) * 3 + 1

    y = block(mx.nd.array(x)).asnumpy()
    expected = normalised(x, gamma, values['beta'], values['moving_mean'], values['moving_var'], norm.eps)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)

    with mx.autograd.record():
        y = block(mx.nd.array(x))
    y.backward()
    mx.nd.waitall()
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    expected = normalised(x, gamma, values['beta'], mean, var, norm.eps)
    np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-4, atol=1e-4)
    for name, batch in (('mean', mean), ('var', var)):
        moved = 0.75 * values[f'moving_{name}'] + 0.25 * batch
        np.testing.assert_allclose(block.params[f'bn_moving_{name}'].data().asnumpy(), moved, rtol=1e-4)


def test_a_fixed_gamma_is_not_trained():
    for fix_gamma, grad_req in ((True, 'null'), (False, 'write')):
        block = BatchNorm('bn', 3, Norm(), fix_gamma=fix_gamma)
        assert block.gamma.grad_req == grad_req
        assert block.beta.grad_req == 'write'
        assert block.mean.grad_req == block.var.grad_req == 'null'
        attributes = block(mx.sym.var('x')).attr_dict()['bn']
        assert attributes['fix_gamma'] == str(fix_gamma)


def test_norms_keep_their_other_settings_with_another_eps():
    norm = Norm(eps=1, momentum=0.5, statistics='running', node='{}_fwd', beta_wd_mult=1.0)
    assert norm.with_eps(2) == Norm(2, 0.5, 'running', '{}_fwd', 1.0)


@pytest.mark.parametrize(
    ('settings', 'shape', 'size'),
    [
        ({'kernel': 3}, (6, 4, 3, 3), (9, 7)),
        ({'kernel': 3, 'stride': 2}, (6, 4, 3, 3), (5, 4)),
        ({'kernel': (1, 3), 'stride': (1, 2)}, (6, 4, 1, 3), (9, 4)),
        ({'kernel': 3, 'pad': 0}, (6, 4, 3, 3), (7, 5)),
        ({'kernel': 3, 'groups': 2}, (6, 2, 3, 3), (9, 7)),
        ({'kernel': 1, 'bias': True}, (6, 4, 1, 1), (9, 7)),
    ],
)
def test_convolutions(settings, shape, size):
    block = Conv('conv', 4, 6, settings.pop('kernel'), **settings)
    block.initialize()
    names = ['conv_weight', 'conv_bias'] if settings.get('bias') else ['conv_weight']
    assert [parameter.name for parameter in parameters_of(block)] == names
    assert block.weight.shape == shape
    assert block(mx.nd.ones((2, 4, 9, 7))).shape == (2, 6, *size)
    assert block(mx.sym.var('x')).list_outputs() == ['conv_output']


# TensorFlow puts the odd pixel of padding after; these sizes are even and odd, not square, and tiny.
SIZES = [(8, 8), (9, 7), (8, 7), (7, 10), (2, 1), (1, 2)]


def tensorflow_pads(size, kernel, stride):
    """Return the padding before and after, as TensorFlow documents padding='SAME'."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def test_pads_that_are_known():
    assert [tensorflow_pads(size, 3, 2) for size in (112, 299, 2, 1)] == [(0, 1), (1, 1), (0, 1), (1, 1)]


def padded_by_hand(x, kernel, stride, value):
    pads = [tensorflow_pads(*side) for side in zip(x.shape[2:], pair(kernel), pair(stride))]
    return mx.nd.array(np.pad(x, [(0, 0), (0, 0), *pads], constant_values=value)), pads


def output_and_gradients(block, x, pads=((0, 0), (0, 0))):
    """Return a block's output, and the gradients of its input (without the padding) and of its parameters."""
    x.attach_grad()
    with mx.autograd.record():
        y = block(x)
        loss = (y * mx.nd.arange(1, y.size + 1).reshape(y.shape)).sum()
    loss.backward()
    (top, bottom), (left, right) = pads
    rows, columns = x.shape[2:]
    gradients = [parameter.grad() for parameter in parameters_of(block)]
    inner = x.grad[:, :, top : rows - bottom, left : columns - right]
    return [array.asnumpy() for array in (y, inner, *gradients)]


def assert_same_as_padded_by_hand(block, unpadded, x, kernel, stride, value=0.0):
    by_hand, pads = padded_by_hand(x, kernel, stride, value)
    expected = output_and_gradients(unpadded, by_hand, pads)
    for hybrid in (False, True):
        block.hybridize(hybrid)
        found = output_and_gradients(block, mx.nd.array(x))
        for ours, theirs in zip(found, expected):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize(
    ('kernel', 'stride', 'groups'),
    [(3, 2, 1), (3, 2, 4), (3, 1, 1), (7, 2, 1), (1, 2, 1), ((1, 3), 2, 1), ((3, 5), (2, 1), 1)],
)
def test_convolutions_with_tensorflows_padding(kernel, stride, groups, size):
    x = np.random.RandomState(4).randn(2, 4, *size).astype(np.float32)
    settings = {'stride': stride, 'groups': groups, 'bias': True}
    block = Conv('conv', 4, 8, kernel, same_size=size, **settings)
    unpadded = Conv('conv', 4, 8, kernel, pad=0, **settings)
    for conv in (block, unpadded):
        conv.initialize(mx.init.Normal(1))
    for name, parameter in unpadded.collect_params().items():
        parameter.set_data(block.collect_params()[name].data())
    assert_same_as_padded_by_hand(block, unpadded, x, kernel, stride)


@pytest.mark.parametrize('size', SIZES)
def test_max_pooling_with_tensorflows_padding(size):
    x = np.random.RandomState(5).randn(2, 3, *size).astype(np.float32) - 3  # below zero: padding never wins
    block = MaxPool('pool', 3, padding='tf_same')
    assert_same_as_padded_by_hand(block, MaxPool('pool', 3, pad=0), x, 3, 2, -np.inf)


def test_the_side_of_the_odd_pixel_makes_a_difference_to_a_pooling_at_even_sizes_alone():
    x = mx.nd.array(np.random.RandomState(6).randn(1, 3, 9, 9))
    symmetric, tensorflow = MaxPool('x', 3), MaxPool('x', 3, padding='tf_same')
    even = x[:, :, :8, :8]
    np.testing.assert_array_equal(symmetric(x).asnumpy(), tensorflow(x).asnumpy())
    assert symmetric(even).shape == tensorflow(even).shape == (1, 3, 4, 4)
    assert np.abs(symmetric(even).asnumpy() - tensorflow(even).asnumpy()).max() > 0.1


def test_without_padding_there_is_no_odd_pixel():
    """The last row and column are left out of an even size, in TensorFlow as in mxnet."""
    layer = MaxPool('x', 3, pad=0, padding='tf_same')
    x = mx.nd.array(np.random.RandomState(7).randn(1, 3, 8, 8))
    np.testing.assert_array_equal(layer(x).asnumpy(), layer(x[:, :, :7, :7]).asnumpy())


@pytest.mark.parametrize('same_size', [None, (9, 9), (8, 8)])
def test_names_are_the_same_with_either_padding(same_size):
    x = mx.sym.var('x')
    conv = Conv('conv', 3, 3, 3, stride=2, same_size=same_size)(x)
    assert (conv.list_outputs(), conv.list_arguments()) == (['conv_output'], ['x', 'conv_weight'])
    assert ('conv_pad_output' in conv.get_internals().list_outputs()) == (same_size == (8, 8))
    assert MaxPool('pool', 3, padding='tf_same')(x).list_outputs() == ['pool_output']


@pytest.mark.parametrize(
    ('built', 'given', 'fits'),
    [((9, 8), (9, 8), True), ((9, 8), (7, 12), True), ((9, 8), (8, 8), False), ((9, 8), (9, 9), False)],
)
def test_a_convolution_that_pads_as_tensorflow_is_refused_maps_that_it_would_pad_otherwise(
    built, given, fits
):
    symbol = mx.sym.relu(Conv('conv', 3, 3, 3, stride=2, same_size=built)(mx.sym.var('data')), name='y')
    if fits:
        check_padding(symbol, (*given, 3))
        return
    with pytest.raises(ConfigError, match=r'^conv pads as TensorFlow .* of another size than \dx\d; build'):
        check_padding(symbol, (*given, 3))


def test_dense_flattens_in_a_node_of_its_own():
    block = Dense('pre_fc1', 12, 5)
    block.initialize(mx.init.Normal(1))
    x = np.random.RandomState(0).randn(2, 3, 2, 2)
    expected = x.reshape(2, 12) @ block.weight.data().asnumpy().T
    np.testing.assert_allclose(block(mx.nd.array(x)).asnumpy(), expected, rtol=1e-4, atol=1e-5)
    outputs = block(mx.sym.var('x')).get_internals().list_outputs()
    assert outputs == ['x', 'pre_fc1_flatten_output', 'pre_fc1_weight', 'pre_fc1_bias', 'pre_fc1_output']


@pytest.mark.parametrize(
    ('width', 'multiplier', 'scaled'),
    [(64, 1, 64), (64, 0.25, 16), (728, 0.125, 91), (3, 0.01, 1), (10, 1.99, 19)],
)
def test_scaled_widths_are_rounded_down_but_never_to_nothing(width, multiplier, scaled):
    assert scale_width(width, multiplier) == scaled


def test_pairs():
    assert pair(3) == (3, 3)
    assert pair((1, 2)) == (1, 2)
