"""What is special to the DenseNet without bottlenecks."""

from __future__ import annotations

import json
from math import prod
from zlib import crc32

import numpy as np
import pytest

from config import ConfigError, resolve
from symbols import get_block, get_symbol
from symbols.plain_densenet import DenseBlock, transition_block

import mxnet as mx
from mxnet.gluon import nn

IMAGE = (1, 1, 96, 96)


def test_the_books_example_of_a_block_and_its_transition():
    block, transition = DenseBlock(2, 3, 10), transition_block(23, 10)
    block.initialize()
    transition.initialize()
    y = block(mx.nd.random.normal(shape=(4, 3, 8, 8)))
    assert y.shape == (4, 23, 8, 8)
    assert transition(y).shape == (4, 10, 4, 4)


def test_blocks_without_a_name_get_one_and_the_familys_are_the_same_blocks():
    net = nn.HybridSequential()
    net.add(DenseBlock(2, 3, 10), DenseBlock(2, 23, 10), transition_block(43, 8), transition_block(8, 4))
    assert len(net.collect_params().keys()) == 2 * 2 * 6 + 2 * 6
    family = get_block(resolve('d2l_densenet')).collect_params('stage2_').items()
    built = {
        **transition_block(192, 96, name='stage2').collect_params(),
        **DenseBlock(4, 96, 32, name='stage2').collect_params(),
    }
    assert {name: p.shape for name, p in family} == {name: p.shape for name, p in built.items()}


def test_the_books_numbers_as_pytorch_computes_them(reference):
    """The book's network ends in a maximum; the parameters come in the same order there and here."""
    row = json.loads((reference / 'pytorch' / 'd2l_densenet_96.json').read_text('utf-8'))
    numbers = np.load(reference / 'pytorch' / 'd2l_densenet_96.npz')
    images = mx.nd.array(np.random.RandomState(5).randn(*row['input']))
    outputs = {}
    for pool in ('max', 'avg'):
        net = get_block(resolve('d2l_densenet', net_pool=pool))
        net.initialize()
        parameters = list(net.collect_params().values())
        assert [list(parameter.shape) for parameter in parameters] == [shape for _, shape in row['weights']]
        for (name, shape), parameter in zip(row['weights'], parameters):
            parameter.set_data(mx.nd.array(torch_value(name, shape, numbers)))
        outputs[pool] = net(images).asnumpy()
    largest = np.abs(numbers['y']).max()
    np.testing.assert_allclose(outputs['max'], numbers['y'], atol=1e-5 * largest)
    assert np.abs(outputs['avg'] - numbers['y']).max() > 0.1 * largest


def test_a_block_and_a_transition_by_themselves_are_the_book_s(reference):
    """As PyTorch computes the book's code, on a map of 7x7, of which the transition leaves out the last row."""
    row = json.loads((reference / 'pytorch' / 'd2l_blocks.json').read_text('utf-8'))
    net = nn.HybridSequential()
    net.add(DenseBlock(2, 3, 10), transition_block(23, 10))
    net.initialize()
    for (name, shape), parameter in zip(row['weights'], net.collect_params().values()):
        assert list(parameter.shape) == shape
        statistics = {'running_var': lambda rng, size: rng.uniform(0.001, 0.01, size)}
        statistics['running_mean'] = lambda rng, size: rng.randn(*size) * 0.1
        draw = statistics.get(name.rpartition('.')[2])
        rng = np.random.RandomState(crc32(name.encode()) & 0x7FFFFFFF)
        parameter.set_data(mx.nd.array(draw(rng, shape) if draw else torch_value(name, shape, None)))
    y = net(mx.nd.array(np.random.RandomState(5).randn(1, 3, 7, 7))).asnumpy()
    np.testing.assert_allclose(y[0], row['y'], atol=1e-5 * np.abs(row['y']).max())


def torch_value(name, shape, numbers):
    """Return the values that tests/reference/README.md prescribes for a parameter of PyTorch's."""
    if 'running' in name:
        return numbers[name]
    rng = np.random.RandomState(crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith('bias'):
        return rng.randn(*shape) * 0.1
    return (
        rng.uniform(0.7, 1.3, shape) if len(shape) == 1 else rng.randn(*shape) * np.sqrt(2 / prod(shape[1:]))
    )


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
