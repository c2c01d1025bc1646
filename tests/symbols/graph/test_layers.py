"""Layers as articles count them, on our networks and on symbols written by hand, and the number in a network's name."""

from __future__ import annotations

from collections import Counter

import pytest

from config import resolve
from config.presets import ACTIVATIONS
from symbols import get_symbol
from symbols.audit import audit
from symbols.graph import layer_table, weighted_layers
from tests.helpers.families import OWN, expected

import mxnet as mx

FACE = {'data': (1, 3, 112, 112)}
IMAGE = {'data': (1, 4, 9, 9)}
ROWS = {'prelu': 'PReLU', 'prelu_channel': 'PReLU', 'relu': 'ReLU', 'elu': 'ELU', 'leaky': 'LeakyReLU'}
ROWS.update({'selu': 'SELU', 'gelu': 'GELU', 'swish': 'Swish'})


def table_of(symbol, shapes):
    audited = audit(symbol, shapes)
    table = layer_table(symbol, shapes, audited)
    for kind in ('trainable', 'fixed', 'auxiliary', 'flops', 'bytes'):
        assert sum(getattr(layer, kind) for layer in table.layers) == getattr(audited.total, kind)
    return table


def preset(name, **overrides):
    cfg = resolve(name, **overrides)
    height, width, channels = cfg.image_shape
    return table_of(get_symbol(cfg), {'data': (1, channels, height, width)})


def rows(symbol, shapes=IMAGE):
    """Return (name, type, names of what it reads) for each layer but the input."""
    layers = table_of(symbol, shapes).layers
    return [
        (layer.name, layer.type, [layers[i].name for i, _ in layer.inputs])
        for layer in layers
        if layer.type != 'InputLayer'
    ]


def conv(x, name, **settings):
    settings = {'kernel': (3, 3), 'pad': (1, 1), 'num_filter': 4, 'no_bias': True, **settings}
    return mx.sym.Convolution(x, name=name, **settings)


@pytest.mark.parametrize('kind', ACTIVATIONS)
def test_an_activation_is_one_row_and_so_is_the_normalisation_of_the_input(kind):
    table = preset('r18', net_act=kind, net_multiplier=0.125, net_output='GAP')
    rows = {'InputLayer': 1, 'Rescaling': 1, 'Conv2D': 21, 'BatchNormalization': 31, 'Add': 8, 'Dense': 1}
    rows.update({expected({**dict(zip(OWN, OWN)), **ROWS}, kind): 10, 'GlobalAveragePooling2D': 1})
    assert Counter(layer.type for layer in table.layers) == rows
    assert [layer.name for layer in table.layers[:5]] == ['data', 'data_scaled', 'conv0', 'bn0', 'relu0']
    assert table.layers[-3].shapes == ((1, 64),)


def test_what_pads_a_layer_is_no_row():
    data, weight = mx.sym.var('data'), mx.sym.var('weight')
    x = mx.sym.reverse(data, axis=(2, 3))
    kernel = mx.sym.reverse(weight, axis=(2, 3))
    x = mx.sym.Convolution(x, kernel, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=4, no_bias=True)
    x = conv(mx.sym.reverse(x, axis=(2, 3), name='mirrored'), 'plain')
    x = mx.sym.Pooling(mx.sym.reverse(x, axis=(2, 3)), kernel=(3, 3), stride=(2, 2), pad=(1, 1))
    x = mx.sym.reverse(x, axis=(2, 3), name='pool')
    x = mx.sym.Pad(x, mode='constant', pad_width=(0, 0, 0, 0, 0, 1, 0, 1))
    x = conv(x, 'padded', stride=(2, 2), pad=(0, 0))
    assert rows(x) == [
        ('mirrored', 'Conv2D', ['data']),
        ('plain', 'Conv2D', ['mirrored']),
        ('pool', 'MaxPooling2D', ['plain']),
        ('padded', 'Conv2D', ['pool']),
    ]
    first = table_of(x, IMAGE).layers[1]
    assert (first.trainable, first.shapes) == (4 * 4 * 3 * 3, ((1, 4, 5, 5),))


def test_a_flip_that_is_no_padding_stays():
    x = conv(mx.sym.var('data'), 'conv')
    assert rows(mx.sym.reverse(x, axis=(2, 3), name='flip'))[-1] == ('flip', 'reverse', ['conv'])
    x = conv(mx.sym.reverse(mx.sym.var('data'), axis=1, name='bgr'), 'conv')
    assert rows(x)[0] == ('bgr', 'reverse', ['data'])


@pytest.mark.parametrize(
    ('between', 'settings', 'last', 'types'),
    [
        (None, {}, {}, ['SeparableConv2D']),
        (None, {'no_bias': False}, {}, ['DepthwiseConv2D', 'Conv2D']),
        (None, {'num_group': 2}, {}, ['Conv2D', 'Conv2D']),
        (None, {}, {'kernel': (3, 3)}, ['DepthwiseConv2D', 'Conv2D']),
        (None, {}, {'stride': (2, 2)}, ['DepthwiseConv2D', 'Conv2D']),
        ('relu', {}, {}, ['DepthwiseConv2D', 'ReLU', 'Conv2D']),
    ],
)
def test_a_depthwise_convolution_and_a_1x1_on_it_are_one(between, settings, last, types):
    x = conv(mx.sym.var('data'), 'sep_dw', **{'num_group': 4, **settings})
    if between:
        x = mx.sym.Activation(x, act_type=between)
    x = conv(x, 'sep_pw', **{'kernel': (1, 1), 'pad': (0, 0), 'num_filter': 6, **last})
    found = rows(x)
    assert [kind for _, kind, _ in found] == types
    assert found[-1][0] == ('sep' if len(types) == 1 else 'sep_pw')


def test_a_half_that_another_layer_reads_is_a_row():
    half = conv(mx.sym.var('data'), 'dw', num_group=4)
    x = conv(half, 'pw', kernel=(1, 1), pad=(0, 0)) + half
    assert [kind for _, kind, _ in rows(x)] == ['DepthwiseConv2D', 'Conv2D', 'Add']
    swish = mx.sym.sigmoid(half, name='gate')
    x = mx.sym.Group([half * swish, swish])
    assert [kind for _, kind, _ in rows(x)] == ['DepthwiseConv2D', 'sigmoid', 'Multiply']


def test_a_flatten_is_of_the_pooling_or_the_dense_layer():
    data = mx.sym.var('data')
    pool = mx.sym.Pooling(data, global_pool=True, kernel=(1, 1), pool_type='max', name='pool')
    x = mx.sym.FullyConnected(mx.sym.Flatten(pool), num_hidden=2, name='fc')
    assert rows(x) == [('pool', 'GlobalMaxPooling2D', ['data']), ('fc', 'Dense', ['pool'])]
    x = mx.sym.FullyConnected(mx.sym.Flatten(data), num_hidden=2, name='fc')
    assert rows(x) == [('fc', 'Dense', ['data'])]
    assert rows(mx.sym.Flatten(data, name='flat')) == [('flat', 'Flatten', ['data'])]


def test_inputs_are_normalised_in_one_row_whichever_way():
    data = mx.sym.var('data')
    insightface = mx.sym.identity(data) - 127.5
    for x in (
        insightface * 0.0078125,
        mx.sym.broadcast_sub(data, mx.sym.var('mean', shape=(1, 3, 1, 1))),
        mx.sym.image.normalize(mx.sym.reverse(data, axis=1), mean=(104, 117, 124), std=(1, 1, 1)),
    ):
        found = rows(conv(x, 'conv'), FACE)
        assert [(kind, read) for _, kind, read in found] == [
            ('Rescaling', ['data']),
            ('Conv2D', [found[0][0]]),
        ]


def test_foreign_operators_have_rows_of_their_own():
    data = mx.sym.var('data')
    x = mx.sym.Correlation(data, data, kernel_size=1, max_displacement=1, pad_size=1, name='corr')
    parts = mx.sym.SliceChannel(x, num_outputs=3, name='parts')
    x = mx.sym.broadcast_div(parts[2], mx.sym.mean(parts[0], name='mean'), name='divide')
    symbol = mx.sym.Group([x, mx.sym.var('w', shape=(2, 2))])
    assert rows(symbol) == [
        ('corr', 'Correlation', ['data']),
        ('parts', 'SliceChannel', ['corr']),
        ('mean', 'mean', ['parts']),
        ('divide', 'broadcast_div', ['parts', 'mean']),
        ('w', 'parameter', []),
    ]
    assert table_of(symbol, IMAGE).layers[4].inputs == ((2, 2), (3, 0))


@pytest.mark.parametrize(
    ('name', 'count', 'terms'),
    [
        ('keras_densenet121', 121, '1 + 2*(6+12+24+16) + 3 + 1'),
        ('keras_densenet169', 169, '1 + 2*(6+12+32+32) + 3 + 1'),
        ('keras_densenet201', 201, '1 + 2*(6+12+48+32) + 3 + 1'),
        ('d121', 121, '1 + 2*(6+12+24+16) + 3 + 1'),
        ('d2l_densenet', 21, '1 + (4+4+4+4) + 3 + 1'),
        ('keras_resnet50', 50, '1 + 3*(3+4+6+3) + 1'),
        ('keras_resnet50_elu', 50, '1 + 3*(3+4+6+3) + 1'),
        ('r50', 50, '1 + 2*(3+4+14+3) + 1'),
        ('m1', 29, '1 + 2*(1+2+2+6+2) + 2'),
        # 36 convolutions in Chollet 2017, section 4, and a dense layer
        ('keras_xception', 37, '2 + 2*(1+1+1) + 3*8 + 2 + 2 + 1'),
        ('article_xception', 37, '4 + 2*(1+1) + 3*8 + 2 + 2 + 1'),
    ],
)
def test_weighted_layers(name, count, terms):
    found = weighted_layers(preset(name))
    assert (found.count, found.terms) == (count, terms)
    assert eval_sum(terms) == count


def eval_sum(terms):
    """Return what a sum of numbers and products comes to."""
    total = 0
    for term in terms.split(' + '):
        each, _, blocks = term.rpartition('*')
        total += int(each or 1) * sum(map(int, blocks.strip('()').split('+')))
    return total


def test_neither_gates_nor_projections_count():
    with_gates = weighted_layers(preset('r18', net_se=1, net_act='swish', net_multiplier=0.125))
    assert (with_gates.count, with_gates.terms) == (18, '1 + 2*(2+2+2+2) + 1')
    assert weighted_layers(table_of(mx.sym.relu(mx.sym.var('data')), IMAGE)).terms == '0'
