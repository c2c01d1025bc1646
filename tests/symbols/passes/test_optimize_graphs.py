"""What the rewrite folds and what it must not, on graphs written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from symbols.passes.optimize import optimize
from tests.helpers.rewritten import CLOSE, assert_same, draw, operators, run

import mxnet as mx


def convolution(x, name, **settings):
    return mx.sym.Convolution(
        x, name=name, **{'num_filter': 6, 'kernel': (3, 3), 'no_bias': True, **settings}
    )


def norm(x, name, **settings):
    return mx.sym.BatchNorm(x, name=name, fix_gamma=False, **settings)


def before_padding():
    return convolution(norm(mx.sym.var('data'), 'bn'), 'conv', pad=(1, 1))


def before_none():
    return convolution(norm(mx.sym.var('data'), 'bn'), 'conv')


def before_groups():
    return convolution(norm(mx.sym.var('data'), 'bn'), 'conv', num_group=3)


def fixed_gamma():
    return convolution(mx.sym.BatchNorm(mx.sym.var('data'), name='bn', fix_gamma=True), 'conv', pad=(1, 1))


def read_twice():
    x = convolution(mx.sym.var('data'), 'conv')
    return norm(x, 'bn') + x


def shared_weight():
    x, weight = mx.sym.var('data'), mx.sym.var('weight')
    one = norm(convolution(x, 'one', weight=weight), 'bn')
    return one + convolution(x, 'two', weight=weight)


def computed_weight():
    weight = mx.sym.var('weight', shape=(6, 6, 3, 3))
    return norm(convolution(mx.sym.var('data'), 'conv', weight=mx.sym.flip(weight, axis=2)), 'bn')


def sum_of_one_thing():
    x = convolution(mx.sym.var('data'), 'conv')
    x = x + x
    return convolution(norm(x, 'bn'), 'last', pad=(1, 1)) + x


def read_by_a_pool():
    data = mx.sym.var('data')
    x = convolution(data, 'one', pad=(1, 1)) + convolution(data, 'two', pad=(1, 1))
    pool = mx.sym.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type='avg', stride=(1, 1))
    return convolution(norm(x, 'bn'), 'last', pad=(1, 1)) + pool


def carried():
    """A sum that a padding convolution reads behind a batch norm, and a 1x1 one, another batch norm, a further sum."""
    data = mx.sym.var('data')
    x = convolution(data, 'one', pad=(1, 1)) + convolution(data, 'two', pad=(1, 1))
    branch = norm(convolution(norm(x, 'bn'), 'three', pad=(1, 1)), 'bn3') + x
    side = convolution(x, 'side', kernel=(1, 1))
    return branch + side + mx.sym.relu(norm(x, 'other'))


def onto_flat():
    x = norm(mx.sym.var('data'), 'bn')
    return norm(mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.Dropout(x)), num_hidden=5, name='fc'), 'fc1')


def without_flatten():
    return mx.sym.FullyConnected(norm(mx.sym.var('data'), 'bn'), num_hidden=5, flatten=False, name='fc')


def last_channels():
    x = mx.sym.BatchNorm(mx.sym.var('data'), axis=3, fix_gamma=False, name='bn')
    return convolution(x, 'conv')


def product_before_padding():
    return convolution(mx.sym.var('data') * 0.5, 'conv', pad=(1, 1))


def output_itself():
    return norm(mx.sym.var('data'), 'bn')


GRAPHS = {
    before_padding: 1,
    before_none: 0,
    before_groups: 0,
    fixed_gamma: 1,
    read_twice: 1,
    shared_weight: 1,
    computed_weight: 1,
    sum_of_one_thing: 1,
    read_by_a_pool: 1,
    carried: 1,
    onto_flat: 0,
    without_flatten: 1,
    last_channels: 1,
    product_before_padding: 0,
    output_itself: 1,
}


@pytest.mark.parametrize(('graph', 'left'), GRAPHS.items(), ids=[graph.__name__ for graph in GRAPHS])
def test_only_what_may_be_folded_is(graph, left):
    plain, _ = assert_same(graph(), (2, 6, 8, 7))
    assert operators(plain)['BatchNorm'] == left


def test_fixed_gamma_is_written_as_one():
    symbol = fixed_gamma()
    values = draw(symbol, (2, 6, 8, 7))
    assert (values['bn_gamma'] != 1).any()
    _, held = optimize(symbol, values, {'data': (2, 6, 8, 7)})
    assert (held['bn_gamma'] == 1).all()


@pytest.mark.parametrize('gamma', [0.0, 1e-12])
def test_sum_is_not_shifted_beyond_what_float32_holds(gamma):
    symbol = carried()
    shape = (2, 6, 8, 7)
    values = draw(symbol, shape)
    values['bn_gamma'][2] = gamma
    images = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    wanted = run(symbol, values, images)
    form, held = optimize(symbol, values, {'data': shape})
    np.testing.assert_allclose(run(form, held, images), wanted, rtol=0, atol=CLOSE * np.abs(wanted).max())
    assert operators(form)['BatchNorm'] == 2


def test_given_values_are_left_alone():
    symbol = before_none()
    values = draw(symbol, (2, 6, 8, 7))
    before = {name: value.copy() for name, value in values.items()}
    optimize(symbol, values, {'data': (2, 6, 8, 7)}, for_mxnet=True)
    for name, value in values.items():
        np.testing.assert_array_equal(value, before[name])
