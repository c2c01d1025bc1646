"""What is special to keras.applications' DenseNets; their numbers are in test_keras.py."""

from __future__ import annotations

import json

import pytest

from config import ConfigError, resolve
from symbols import get_block, get_symbol
from symbols.activations import Act
from symbols.keras_densenet import dense_block, transition_block

import mxnet as mx

IMAGE = (1, 3, 224, 224)


def small(**overrides):
    return resolve('keras_densenet121', **{'net_multiplier': 0.125, **overrides})


@pytest.mark.parametrize(('depth', 'channels'), [(121, 1024), (169, 1664), (201, 1920)])
def test_last_maps_of_every_depth(depth, channels):
    cfg = resolve(f'keras_densenet{depth}', net_output='bn_dropout')
    assert get_symbol(cfg).infer_shape(data=IMAGE)[1] == [(1, channels, 7, 7)]


def test_depths_that_keras_has_not():
    with pytest.raises(ConfigError, match='num_layers=161 does not go with'):
        resolve('keras_densenet121', num_layers=161)


@pytest.mark.parametrize('activation', ['elu', 'prelu'])
def test_an_activation_of_the_users_choice_is_everywhere(activation):
    symbol = get_symbol(small(net_act=activation))
    nodes = json.loads(symbol.tojson())['nodes']
    count = 1 + 2 * (6 + 12 + 24 + 16) + 3 + 1
    if activation == 'prelu':
        shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=IMAGE)[0]))
        slopes = [name for name in shapes if name.endswith('relu_gamma')]
        assert len(slopes) == count
        assert shapes['conv2_block1_1_relu_gamma'] == (16,)
    else:
        assert sum(node['op'] == 'LeakyReLU' for node in nodes) == count
        assert not [node for node in nodes if node['op'] == 'Activation']


@pytest.mark.parametrize('rate', [0.0, 0.2])
def test_dropout_after_each_dense_layer_where_it_is_set(rate):
    nodes = json.loads(get_symbol(small(densenet_dropout=rate)).tojson())['nodes']
    rates = [float(node['attrs']['p']) for node in nodes if node['op'] == 'Dropout']
    assert rates == ([rate] * (6 + 12 + 24 + 16) if rate else [])


def test_blocks_by_the_articles_arguments():
    block, transition = dense_block(16, 2, 'conv2'), transition_block(80, 0.5)
    for each in (block, transition):
        each.initialize()
    y = block(mx.nd.ones((2, 16, 9, 9)))
    assert (y.shape, transition(y).shape) == ((2, 80, 9, 9), (2, 40, 4, 4))
    wider = dense_block(
        16, 2, 'conv2', growth_rate=8, bottleneck=2, dropout=0.1, act=Act('elu')
    ).collect_params()
    assert wider['conv2_block2_1_conv_weight'].shape == (16, 24, 1, 1)
    assert list(wider) == list(block.collect_params())


@pytest.mark.parametrize('preset', ['d121', 'keras_densenet121', 'd2l_densenet'])
@pytest.mark.parametrize('multiplier', [1.0, 0.5])
def test_widths_of_ones_own(preset, multiplier, internal_shapes):
    """The stem, the layers of each block and the channels after them, net_multiplier on both widths."""
    own = {'densenet_blocks': (2, 3), 'densenet_growth': 12, 'densenet_init': 20, 'net_output': 'map'}
    cfg = resolve(preset, **own, net_multiplier=multiplier, image_shape=(96, 96, 3))
    shapes = internal_shapes(get_symbol(cfg), (1, 3, 96, 96))
    appended = [shape[1] for name, shape in shapes.items() if 'concat' in name]
    growth, init = int(12 * multiplier), int(20 * multiplier)
    first = [init + growth * layer for layer in (1, 2)]
    assert appended == [*first, *(first[-1] // 2 + growth * layer for layer in (1, 2, 3))]


def test_a_bottleneck_of_ones_own():
    for preset in ('d121', 'keras_densenet121'):
        cfg = resolve(preset, densenet_blocks=(1,), densenet_bottleneck=2)
        kernels = [p.shape for p in get_block(cfg).collect_params('.*conv.*weight').values()]
        assert kernels[1:] == [(64, 64, 1, 1), (32, 64, 3, 3)]
