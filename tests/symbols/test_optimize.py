"""The rewrite for inference gives the network's own embedding, whatever the family, head, activation and values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from config import network, resolve
from symbols import get_symbol, list_activations, list_heads
from symbols.optimize import optimize
from symbols.prelu_forms import as_operators

import mxnet as mx

ROOT = Path(__file__).resolve().parents[2]
CLOSE = 2e-5  # of the largest value, in float32
QUICK = ('r18', 'd121', 'xception', 'y1', 'm05', 'mnas025')  # a preset for each family


def draw(symbol, shape, slopes=(0.0, 0.5)):
    """Return values by name under which signals neither vanish nor grow, and no batch norm is an identity."""
    rng = np.random.default_rng(0)
    arguments, _, auxiliary = symbol.infer_shape(data=shape)
    names = symbol.list_arguments() + symbol.list_auxiliary_states()
    values = {}
    for name, own in zip(names, [*arguments, *auxiliary]):
        if name.endswith('_weight'):
            values[name] = rng.standard_normal(own) / np.sqrt(np.prod(own[1:]))
        elif name.endswith(('_mean', '_beta', '_bias')):
            values[name] = 0.3 * rng.standard_normal(own)
        else:
            bounds = slopes if 'relu' in name or name.endswith('alpha') else (0.5, 1.5)
            values[name] = rng.uniform(*bounds, own)
    del values['data']
    return {name: value.astype(np.float32) for name, value in values.items()}


def run(symbol, values, images):
    executor = symbol.simple_bind(mx.cpu(), grad_req='null', data=images.shape)
    assert set(values) == {*executor.arg_dict, *executor.aux_dict} - {'data'}
    for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
        array[:] = images if name == 'data' else values[name]
    return executor.forward(is_train=False)[0].asnumpy()


def assert_same(symbol, shape=(2, 3, 112, 112), **draws):
    """Check that both forms of the rewrite give what the symbol gives; return them."""
    values = draw(symbol, shape, **draws)
    images = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    wanted = run(symbol, values, images)
    assert np.abs(wanted).max() > 1e-3
    forms = []
    for for_mxnet in (False, True):
        form, held = optimize(symbol, values, {'data': shape}, for_mxnet=for_mxnet)
        np.testing.assert_allclose(run(form, held, images), wanted, rtol=0, atol=CLOSE * np.abs(wanted).max())
        forms.append(form)
    return forms


def operators(symbol):
    return Counter(node['op'] for node in json.loads(symbol.tojson())['nodes'])


def small(preset, **settings):
    """Return the config of a preset, narrow where the family can be."""
    for multiplier in (0.25, 0.5, 1.0):
        try:
            cfg = resolve(preset, net_multiplier=multiplier, **settings)
            get_symbol(cfg)
        except ValueError:
            continue
        return cfg
    raise AssertionError(preset)


def shape_of(cfg):
    height, width, channels = cfg.image_shape
    return 2, channels, height, width


@pytest.mark.parametrize(
    'preset', [pytest.param(each, marks=[] if each in QUICK else pytest.mark.slow) for each in network]
)
def test_every_network_stays_what_it_is(preset):
    cfg = small(preset)
    assert_same(get_symbol(cfg), shape_of(cfg))


@pytest.mark.parametrize('head', list_heads())
def test_every_head_stays_what_it_is(head):
    symbol = get_symbol(small('r18', net_output=head))
    for form in assert_same(symbol):
        assert form.list_outputs() == symbol.list_outputs() or head == 'bn_dropout'


@pytest.mark.parametrize('activation', list_activations())
def test_every_activation_stays_what_it_is(activation):
    assert_same(get_symbol(small('r18', net_act=activation)))


@pytest.mark.parametrize(
    'settings', [{'net_unit': 1}, {'net_unit': 2}, {'net_se': 1}, {'net_input': 0}, {'net_input': 2}]
)
def test_every_kind_of_residual_network_stays_what_it_is(settings):
    assert_same(get_symbol(small('r18', **settings)))


def test_one_batch_norm_of_a_resnet_is_left():
    """The first unit's: what comes before is no sum, and its convolution pads."""
    symbol = get_symbol(resolve('r50'))
    assert operators(symbol)['BatchNorm'] == 79
    for form in assert_same(symbol):
        found = operators(form)
        assert found['BatchNorm'] == 1
        assert found['Dropout'] == found['_mul_scalar'] == 0


@pytest.mark.parametrize(
    ('preset', 'left'), [('d121', 62), ('xception', 0), ('y1', 0), ('m1', 0), ('mnas', 0)]
)
def test_batch_norms_left(preset, left):
    symbol = get_symbol(resolve(preset))
    values = draw(symbol, (1, 3, 112, 112))
    assert operators(optimize(symbol, values, {'data': (1, 3, 112, 112)})[0])['BatchNorm'] == left


def test_slopes_that_are_alike_become_a_constant():
    for form in assert_same(get_symbol(resolve('d121', net_multiplier=0.25))):  # one slope a layer
        found = [node for node in json.loads(form.tojson())['nodes'] if node['op'] == 'LeakyReLU']
        assert len(found) == 119
        assert {node['attrs']['act_type'] for node in found} == {'leaky'}
        assert not any('slope' in name or 'alpha' in name for name in form.list_arguments())


@pytest.mark.parametrize(('slopes', 'operator'), [((-0.5, 1.0), 'Convolution'), ((0.0, 3.0), 'BatchNorm')])
def test_form_of_prelu_goes_by_its_slopes(slopes, operator):
    plain, fast = assert_same(get_symbol(resolve('r18', net_multiplier=0.25)), slopes=slopes)
    prelus = operators(plain)['LeakyReLU']
    assert prelus == 9
    assert operators(fast)['LeakyReLU'] == 0
    assert operators(fast)[operator] == operators(plain)[operator] + 2 * prelus


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


def test_without_onednn_the_values_are_the_same():
    """A process of its own, since mxnet reads the setting once."""
    tests = 'test_form_of_prelu_goes_by_its_slopes or test_only_what_may_be_folded_is'
    settings = {'MXNET_MKLDNN_ENABLED': '0', 'OMP_NUM_THREADS': '1'}
    subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', __file__, '-k', tests],
        check=True,
        cwd=ROOT,
        env={**os.environ, **settings},
    )


def test_prelu_of_insightface_is_found():
    """Its symbols hold the operator, not the four of a network here."""
    symbol = get_symbol(resolve('r18', net_multiplier=0.25))
    shape = (2, 3, 112, 112)
    values = draw(symbol, shape)
    one, other = (
        optimize(each, values, {'data': shape}, for_mxnet=True) for each in (symbol, as_operators(symbol))
    )
    images = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    np.testing.assert_array_equal(run(*one, images), run(*other, images))
