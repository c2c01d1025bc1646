"""Dense layers read a map of one pixel, and other programs a Flatten."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from symbols import get_symbol
from symbols.ir.flattening import flattens, with_flatten
from symbols.ir.nodes import list_nodes

import mxnet as mx

DATA = mx.sym.var('data')


def flat(**settings):
    return mx.sym.reshape(DATA, shape=(0, -1, 1, 1), name='flat', **settings)


FLAT_DATA = flat()


def dense(x, name='fc', **settings):
    return mx.sym.FullyConnected(x, num_hidden=3, name=name, **settings)


def operators(symbol):
    return [node.operator for node in list_nodes(symbol, {'data': (2, 4, 3, 3)}) if not node.is_variable]


def test_what_flattens():
    assert flattens('Flatten', {})
    assert flattens('Reshape', {'shape': '(0, -1, 1, 1)'})
    assert not flattens('Reshape', {'shape': '(1, -1, 1, 1)'})  # a PReLU's slopes
    assert not flattens('FullyConnected', {})


@pytest.mark.parametrize(
    ('symbol', 'expected'),
    [
        (dense(flat()), ['Flatten', 'FullyConnected']),
        (mx.sym.Group([dense(FLAT_DATA), FLAT_DATA]), ['Reshape', 'FullyConnected']),
        (dense(flat(), flatten=False), ['Reshape', 'FullyConnected']),
        (mx.sym.Convolution(flat(), kernel=(1, 1), num_filter=2), ['Reshape', 'Convolution']),
        (flat(), ['Reshape']),
    ],
    ids=['dense', 'another', 'last axis', 'convolution', 'output'],
)
def test_a_flatten_stands_where_only_dense_layers_read(symbol, expected):
    assert operators(with_flatten(symbol))[: len(expected)] == expected


def test_a_head_computes_the_same_either_way_and_as_it_did():
    symbol = get_symbol(resolve('r18', net_multiplier=0.125, image_shape=(32, 32, 3), emb_size=8))
    random, images = np.random.RandomState(0), mx.nd.array(np.random.RandomState(1).rand(2, 3, 32, 32))
    outputs = []
    for each in (symbol, with_flatten(symbol)):
        executor = each.simple_bind(mx.cpu(), data=images.shape)
        if not outputs:
            values = {name: random.rand(*array.shape) for name, array in executor.arg_dict.items()}
        executor.copy_params_from({name: mx.nd.array(value) for name, value in values.items()})
        outputs.append(executor.forward(data=images)[0].asnumpy())
    assert np.array_equal(*outputs)
    for each in (symbol, with_flatten(symbol)):
        assert 'pre_fc1_flatten_output' in each.get_internals().list_outputs()


@pytest.mark.parametrize('head', ['E', 'GAP', 'SFC', 'GNAP', 'classifier'])
def test_print_summary_counts_every_head_right(head, capsys):
    symbol = get_symbol(
        resolve('r18', net_multiplier=0.25, net_act='relu', net_output=head, emb_size=32, num_classes=9)
    )
    mx.viz.print_summary(symbol, shape={'data': (1, 3, 112, 112)})
    total = int(capsys.readouterr().out.rstrip().splitlines()[-2].split(':')[1])
    shapes, _, _ = symbol.infer_shape(data=(1, 3, 112, 112))
    sizes = {name: np.prod(shape) for name, shape in zip(symbol.list_arguments(), shapes)}
    assert total == sum(size for name, size in sizes.items() if name != 'data')
