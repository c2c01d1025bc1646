"""What is special to keras.applications' DenseNets; their numbers are in test_keras.py."""

from __future__ import annotations

import json

import pytest

from config import ConfigError, resolve
from symbols import get_symbol

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
