"""First values and factors of parameters: the symbol's own where it has them, else by name."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from config.errors import ConfigError
from recognition.checkpoint.initialize import prepare
from recognition.checkpoint.network import wrap_symbol
from symbols import get_symbol

import mxnet as mx

SHAPE = (16, 16, 3)


def prepared(symbol, *, seed=1, shape=SHAPE):
    mx.random.seed(seed)
    block = wrap_symbol(symbol)
    prepare(block, symbol, image_shape=shape, ctx=[mx.cpu()])
    return block.collect_params()


def plain_symbol():
    """As InsightFace writes networks: operators with implicit variables."""
    heavy = mx.sym.var('conv0_weight', wd_mult=10, lr_mult=2)
    x = mx.sym.Convolution(mx.sym.var('data'), heavy, num_filter=64, kernel=(3, 3), name='conv0')
    x = mx.sym.BatchNorm(x, fix_gamma=False, name='bn0')
    x = mx.sym.LeakyReLU(x, act_type='prelu', name='relu0')
    x = mx.sym.FullyConnected(x, num_hidden=8, name='pre_fc1')
    return mx.sym.BatchNorm(x, name='fc1')


def test_values_and_factors_go_by_name():
    parameters = prepared(plain_symbol())
    values = {
        name: np.unique(p.data().asnumpy()).tolist() for name, p in parameters.items() if 'weight' not in name
    }
    assert values == {
        'conv0_bias': [0],
        'bn0_gamma': [1],
        'bn0_beta': [0],
        'bn0_moving_mean': [0],
        'bn0_moving_var': [1],
        'relu0_gamma': [0.25],
        'pre_fc1_bias': [0],
        'fc1_gamma': [1],
        'fc1_beta': [0],
        'fc1_moving_mean': [0],
        'fc1_moving_var': [1],
    }
    decayed = {
        name: p.wd_mult for name, p in parameters.items() if p.wd_mult and not name.endswith(('mean', 'var'))
    }
    assert decayed == {
        'conv0_weight': 10,
        'bn0_gamma': 1,
        'relu0_gamma': 1,
        'pre_fc1_weight': 1,
        'fc1_gamma': 1,
    }
    assert parameters['conv0_weight'].lr_mult == 2
    fixed = {name for name, p in parameters.items() if p.grad_req == 'null'}
    assert fixed == {'fc1_gamma', *(name for name in parameters if 'moving' in name)}


def test_weights_spread_by_the_fan_out():
    weight = prepared(plain_symbol())['conv0_weight'].data().asnumpy()
    assert weight.std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)
    assert abs(weight.mean()) < 0.01


def test_first_values_depend_on_the_seed_alone():
    first, again, other = (prepared(plain_symbol(), seed=seed) for seed in (1, 1, 2))
    for name, parameter in first.items():
        np.testing.assert_array_equal(parameter.data().asnumpy(), again[name].data().asnumpy())
    assert not np.array_equal(first['conv0_weight'].data().asnumpy(), other['conv0_weight'].data().asnumpy())


@pytest.mark.parametrize(('network', 'slopes'), [('r18', '_gamma'), ('d121', '_alpha')])
def test_the_networks_here_are_prepared(network, slopes):
    cfg = resolve(network, net_act='prelu', net_multiplier=0.125, emb_size=8, image_shape=(32, 32, 3))
    parameters = prepared(get_symbol(cfg), shape=(32, 32, 3))
    quarters = [name for name, p in parameters.items() if np.unique(p.data().asnumpy()).tolist() == [0.25]]
    assert quarters
    assert all(name.endswith(slopes) for name in quarters)
    assert parameters['fc1_gamma'].grad_req == 'null'
    assert parameters['pre_fc1_bias'].wd_mult == 0


def test_a_parameter_without_a_known_name_is_refused():
    with pytest.raises(ConfigError, match="'strange' has no first value"):
        prepared(mx.sym.broadcast_mul(mx.sym.var('data'), mx.sym.var('strange', shape=(1, 1, 1, 1))))


def test_images_that_are_too_small_are_refused_and_nothing_is_printed(capfd):
    with pytest.raises(ConfigError, match='takes no images of 2x2x3'):
        prepared(plain_symbol(), shape=(2, 2, 3))
    assert capfd.readouterr().out == ''


@pytest.mark.parametrize('network', ['r18', 'd121', 'y1', 'mnas025', 'xception'])
def test_the_factors_are_those_that_mxnets_module_gives_to_the_symbol(network):
    shape = (112, 112, 3) if network == 'xception' else (32, 32, 3)
    symbol = get_symbol(
        resolve(network, net_act='prelu', net_multiplier=0.125, emb_size=8, image_shape=shape)
    )
    names = [name for name in symbol.list_arguments() if name != 'data']
    optimizer = mx.optimizer.SGD(wd=1.0, param_idx2name=dict(enumerate(names)), sym=symbol)
    parameters = prepared(symbol, shape=shape)
    for index, name in enumerate(names):
        if parameters[name].grad_req != 'null':
            own = (parameters[name].lr_mult, parameters[name].wd_mult)
            assert (name, *own) == (name, optimizer._get_lr(index) / optimizer.lr, optimizer._get_wd(index))


def test_the_first_scores_of_few_classes_are_small():
    """Glorot's weights, as Keras draws them: uniform within sqrt(6 / (inputs + outputs))."""
    cfg = resolve('keras_resnet50', net_multiplier=0.125, num_classes=3, image_shape=(32, 32, 3))
    weight = prepared(get_symbol(cfg), shape=(32, 32, 3))['fc1_weight'].data().asnumpy()
    bound = np.sqrt(6 / (3 + 256))
    assert weight.shape == (3, 256)
    assert 0.95 * bound < np.abs(weight).max() <= bound
