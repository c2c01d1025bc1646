"""PyTorch's form of a network gives MXNet's numbers, in inference and in a training step."""

from __future__ import annotations

import json

import numpy as np
import pytest

from config.errors import ConfigError
from tools.bench.networks import draw_network, draw_values

import mxnet as mx

pytestmark = pytest.mark.torch

CLOSE = 1e-5  # of the largest value
FAMILIES = ('r18', 'r50v1', 'd121', 'xception', 'y1', 'm05', 'mnas025', 'vargfacenet')


@pytest.fixture(scope='module')
def build_torch():
    import torch

    from tools.bench.torch_network import build_torch

    torch.set_num_threads(1)
    return build_torch


def narrow(preset):
    for multiplier in (0.25, 1.0):
        try:
            return draw_network(preset, {'net_multiplier': multiplier})
        except ConfigError:
            continue
    raise AssertionError(preset)


def run_mxnet(symbol, values, images):
    executor = symbol.simple_bind(mx.cpu(), grad_req='null', data=images.shape)
    held = {name: mx.nd.array(value) for name, value in values.items()}
    executor.copy_params_from(held, held, allow_extra_params=True)
    return executor.forward(is_train=False, data=mx.nd.array(images))[0].asnumpy()


def run_torch(network, images):
    import torch

    with torch.inference_mode():
        return network.eval()(torch.from_numpy(images)).numpy()


def assert_same(build_torch, symbol, values, images):
    found = run_torch(build_torch(json.loads(symbol.tojson()), values), images)
    wanted = run_mxnet(symbol, values, images)
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=0, atol=CLOSE * np.abs(wanted).max())


@pytest.mark.parametrize('preset', FAMILIES)
def test_every_family_gives_the_same_embeddings(build_torch, preset):
    drawn = narrow(preset)
    images = drawn.faces(2).transpose(0, 3, 1, 2).astype(np.float32)
    assert_same(build_torch, drawn.symbol, drawn.values, images)


LAYERS = {
    'pooling by averages': lambda x: mx.sym.Pooling(
        x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type='avg', pooling_convention='full'
    ),
    'without the padding': lambda x: mx.sym.Pooling(
        x, kernel=(3, 3), pad=(1, 1), pool_type='avg', count_include_pad=False
    ),
    'the greatest': lambda x: mx.sym.Pooling(x, global_pool=True, kernel=(1, 1), pool_type='max'),
    'dilated, in groups': lambda x: mx.sym.Convolution(
        x, name='conv', kernel=(3, 3), num_filter=6, dilate=(2, 2), num_group=2
    ),
    'leaky': lambda x: mx.sym.LeakyReLU(x - 0.5, slope=0.1),
    'elu': lambda x: mx.sym.LeakyReLU(x - 0.5, act_type='elu', slope=0.7),
    'sigmoid': lambda x: mx.sym.Activation(x, act_type='sigmoid'),
    'softplus': lambda x: mx.sym.Activation(x, act_type='softrelu'),
    'gate': lambda x: mx.sym.broadcast_mul(x, mx.sym.Pooling(x, global_pool=True, kernel=(1, 1)) / 3 + 1),
    'defaults of a batch norm': lambda x: mx.sym.BatchNorm(x, name='bn'),
    'along the rows': lambda x: mx.sym.FullyConnected(x, num_hidden=3, flatten=False, name='fc'),
    'the last channels': lambda x: mx.sym.Concat(x, x * 2, dim=3),
}


@pytest.mark.parametrize('layer', LAYERS)
def test_settings_of_layers(build_torch, layer):
    symbol = LAYERS[layer](mx.sym.var('data'))
    images = np.random.default_rng(4).random((2, 4, 8, 7), np.float32)
    assert_same(build_torch, symbol, draw_values(symbol, (4, 8, 7)), images)


def test_moving_statistics_move_as_far(build_torch):
    import torch

    x = mx.sym.BatchNorm(mx.sym.var('data'), name='bn', momentum=0.8, fix_gamma=False)
    values = draw_values(x, (4, 8, 7))
    images = np.random.default_rng(4).random((3, 4, 8, 7), np.float32)
    executor = x.simple_bind(mx.cpu(), data=images.shape)
    held = {name: mx.nd.array(value) for name, value in values.items()}
    executor.copy_params_from(held, held, allow_extra_params=True)
    executor.forward(is_train=True, data=mx.nd.array(images))
    executor.backward(mx.nd.ones(images.shape))
    mx.nd.waitall()
    network = build_torch(json.loads(x.tojson()), values)
    network(torch.from_numpy(images))
    moved = executor.aux_dict['bn_moving_mean'].asnumpy()
    assert np.abs(moved - values['bn_moving_mean']).max() > 0.01
    np.testing.assert_allclose(network.layers[0].running_mean.numpy(), moved, rtol=1e-5)


REFUSED = {
    'softmax0': lambda x: mx.sym.softmax(x, name='softmax0'),
    'another axis': lambda x: mx.sym.BatchNorm(x, axis=3),
    "'gelu' has no module": lambda x: mx.sym.LeakyReLU(x, act_type='gelu'),
}


@pytest.mark.parametrize('words', REFUSED)
def test_what_has_no_rule_is_told(build_torch, words):
    symbol = REFUSED[words](mx.sym.var('data'))
    with pytest.raises(ConfigError, match=words):
        build_torch(json.loads(symbol.tojson()), draw_values(symbol, (4, 8, 7)))
