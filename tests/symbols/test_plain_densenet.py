"""What is special to the DenseNet without bottlenecks."""

from __future__ import annotations

import json

import pytest

from config import ConfigError, resolve
from symbols import get_symbol
from symbols.activations import Act
from symbols.layers import Norm
from symbols.plain_densenet import DenseBlock, Transition

import mxnet as mx

IMAGE = (1, 1, 96, 96)


def test_the_books_example_of_a_block_and_its_transition():
    block = DenseBlock('', 3, 2, 10, norm=Norm(), act=Act('relu'))
    transition = Transition('', 23, 10, norm=Norm(), act=Act('relu'))
    block.initialize()
    transition.initialize()
    y = block(mx.nd.random.normal(shape=(4, 3, 8, 8)))
    assert y.shape == (4, 23, 8, 8)
    assert transition(y).shape == (4, 10, 4, 4)


def test_shapes_of_the_stages(internal_shapes):
    shapes = internal_shapes(get_symbol(resolve('d2l_densenet', net_output='bn_dropout')), IMAGE)
    assert shapes['conv0_output'] == (1, 64, 48, 48)
    assert shapes['pool0_output'] == (1, 64, 24, 24)
    ends = [shapes[f'stage{stage}_unit4_concat_output'][1:] for stage in (1, 2, 3, 4)]
    assert ends == [(192, 24, 24), (224, 12, 12), (240, 6, 6), (248, 3, 3)]
    halved = [shapes[f'stage{stage}_transition_pool_output'][1:] for stage in (2, 3, 4)]
    assert halved == [(96, 12, 12), (112, 6, 6), (120, 3, 3)]
    assert shapes['dropout0_output'] == (1, 248, 3, 3)


def test_every_convolution_has_a_bias_and_a_batch_norm_before_it_but_the_stems():
    nodes = json.loads(get_symbol(resolve('d2l_densenet')).tojson())['nodes']
    convolutions = [node for node in nodes if node['op'] == 'Convolution']
    assert len(convolutions) == 1 + 4 * 4 + 3
    assert {node['attrs'].get('no_bias', 'False') for node in convolutions} == {'False'}
    norms = [node for node in nodes if node['op'] == 'BatchNorm']
    assert len(norms) == len(convolutions) + 1
    assert {float(node['attrs']['eps']) for node in norms} == {1e-5}


@pytest.mark.parametrize('rate', [0.0, 0.2])
def test_dropout_after_each_dense_layer_where_it_is_set(rate):
    nodes = json.loads(get_symbol(resolve('d2l_densenet', densenet_dropout=rate)).tojson())['nodes']
    rates = [float(node['attrs']['p']) for node in nodes if node['op'] == 'Dropout']
    assert rates == ([rate] * 16 if rate else [])


def test_images_under_29_pixels_are_too_small():
    with pytest.raises(ConfigError, match="is too small for net_name='plain_densenet'"):
        get_symbol(resolve('d2l_densenet', image_shape=(28, 96, 1)))
    assert get_symbol(resolve('d2l_densenet', image_shape=(29, 29, 1))).list_outputs() == ['fc1_output']
