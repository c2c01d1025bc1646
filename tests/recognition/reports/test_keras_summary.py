"""The summary as Keras prints it, row for row beside the graphs that Keras itself wrote."""

from __future__ import annotations

import json
from math import prod

import pytest

from config import resolve
from recognition.commands.audit import main
from recognition.reports.keras_summary import keras_rows, keras_summary
from symbols import get_symbol
from symbols.audit import audit
from symbols.graph import layer_table

import mxnet as mx

# Whether the order is Keras's to the row; in the others a branch and its projection change places.
GRAPHS = {
    'xception_seed_112': ('article_xception', True),
    'densenet121_112': ('keras_densenet121', True),
    'resnet50_112': ('keras_resnet50', True),
    'resnet50_elu_seed_224': ('keras_resnet50_elu', False),
    'xception_112': ('keras_xception', False),
}


def layers_of(symbol, shape):
    return layer_table(symbol, {'data': shape}, audit(symbol, {'data': shape})).layers


def preset(name, **overrides):
    cfg = resolve(name, **overrides)
    height, width, channels = cfg.image_shape
    return layers_of(get_symbol(cfg), (1, channels, height, width))


def keras_table(reference, tag):
    """Return (type, output shape, parameters, numbers of the rows that it reads) for each of Keras's layers."""
    row = json.loads((reference / 'keras' / f'{tag}.json').read_text('utf-8'))
    sizes = {}
    for key, shape in row['weights']:
        layer, _ = key.split('|')
        sizes[layer] = sizes.get(layer, 0) + prod(shape)
    place = {layer['name']: number for number, layer in enumerate(row['layers'])}
    table = [
        (
            'ReLU' if layer['type'] == 'Activation' else layer['type'],
            tuple(layer['out'][1:]),
            sizes.get(layer['name'], 0),
            sorted(place[name] for name in layer['inputs']),
        )
        for layer in row['layers']
    ]
    assert {layer['cfg'].get('activation') for layer in row['layers'] if layer['type'] == 'Activation'} <= {
        'relu'
    }
    return row, table


@pytest.mark.parametrize('tag', GRAPHS)
def test_rows_are_those_of_keras(tag, reference):
    name, ordered = GRAPHS[tag]
    row, theirs = keras_table(reference, tag)
    side = row['input'][1]
    found = keras_rows(preset(name, image_shape=(side, side, 3)))
    ours = [(each.type, *each.shapes, each.parameters, sorted(each.inputs)) for each in found]
    if tag == 'resnet50_elu_seed_224':  # the article pools all 7x7 and flattens, which is a global pooling
        assert [each[:3] for each in theirs[-3:-1]] == [
            ('AveragePooling2D', (1, 1, 2048), 0),
            ('Flatten', (2048,), 0),
        ]
        theirs[-3:-1] = [('GlobalAveragePooling2D', (2048,), 0, theirs[-3][3])]
        theirs[-1] = (*theirs[-1][:3], [len(theirs) - 2])
    assert sum(each[2] for each in ours) == row['params']
    if ordered:
        assert ours == theirs
    else:
        assert sorted(each[:3] for each in ours) == sorted(each[:3] for each in theirs)
        for kind in {each[0] for each in theirs} - {'Conv2D', 'BatchNormalization'}:
            assert [each[1:3] for each in ours if each[0] == kind] == [
                each[1:3] for each in theirs if each[0] == kind
            ]


def test_the_article_s_table(capsys):
    main(['article_xception', '--format', 'keras'])
    lines = capsys.readouterr().out.splitlines()
    rules = [line for line in lines if set(line) in ({'_'}, {'='})]
    assert len(rules) == 100 + 3
    assert [' '.join(line.split()) for line in lines[:10]][0::2][:5] == [
        'Model: "article_xception"',
        'Layer (type) Output Shape Param # Connected to',
        'data (InputLayer) (None, 299, 299, 3) 0 -',
        'block1_conv1 (Conv2D) (None, 150, 150, 32) 864 data',
        'block1_conv1_bn (BatchNormalization) (None, 150, 150, 32) 128 block1_conv1',
    ]
    add = next(i for i, line in enumerate(lines) if line.startswith('block3_plus (Add)'))
    assert lines[add].split()[-1] == 'block3_shortcut_bn'
    assert lines[add + 1].split() == ['block3_pool']
    assert lines[-4:-1] == [
        'Total params: 22,817,480',
        'Trainable params: 22,805,848',
        'Non-trainable params: 11,632',
    ]


@pytest.mark.parametrize(
    ('settings', 'shape', 'added'),
    [
        ({'kernel': (3, 3), 'pad': (1, 1)}, (9, 9), None),
        ({'kernel': (3, 3)}, (9, 9), None),
        ({'kernel': (3, 3), 'pad': (1, 1), 'stride': (2, 2)}, (9, 9), None),
        ({'kernel': (3, 3), 'pad': (1, 1), 'stride': (2, 2)}, (10, 10), (12, 12, 3)),
        ({'kernel': (3, 3), 'pad': (1, 1), 'stride': (2, 2)}, (9, 10), (11, 12, 3)),
        ({'kernel': (3, 3), 'pad': (2, 2), 'dilate': (2, 2)}, (9, 9), None),
        ({'kernel': (3, 3), 'pad': (1, 1), 'dilate': (2, 2)}, (9, 9), (11, 11, 3)),
        ({'kernel': (1, 3), 'pad': (0, 1)}, (9, 9), None),
        ({'kernel': (1, 3)}, (9, 9), None),
        ({'kernel': (1, 1), 'stride': (2, 2)}, (9, 9), None),
    ],
)
def test_padding_that_keras_has_no_name_for_is_a_layer(settings, shape, added):
    for layer in (
        mx.sym.Convolution(mx.sym.var('data'), num_filter=2, name='layer', **settings),
        None if 'dilate' in settings else mx.sym.Pooling(mx.sym.var('data'), name='layer', **settings),
    ):
        if layer is not None:
            rows = keras_rows(layers_of(layer, (1, 3, *shape)))
            assert [(row.name, *row.shapes) for row in rows if row.type == 'ZeroPadding2D'] == (
                [('layer_pad', added)] if added else []
            )
            assert rows[-1].inputs == (len(rows) - 2,)


@pytest.mark.parametrize(('low', 'high', 'added'), [(0, 1, False), (1, 0, True), (1, 1, True)])
def test_tensorflow_s_padding_by_a_pad_is_same(low, high, added):
    x = mx.sym.Pad(mx.sym.var('data'), mode='constant', pad_width=(0, 0, 0, 0, low, high, low, high))
    x = mx.sym.Convolution(x, kernel=(3, 3), stride=(2, 2), num_filter=2, name='conv')
    types = [row.type for row in keras_rows(layers_of(x, (1, 3, 10, 10)))]
    assert types == ['InputLayer', *(['ZeroPadding2D'] if added else []), 'Conv2D']


def test_a_dense_layer_on_a_map_has_a_flatten_before_it():
    rows = keras_rows(preset('r18', net_act='swish', net_multiplier=0.125))
    (flat,) = [number for number, row in enumerate(rows) if row.type == 'Flatten']
    assert rows[flat].shapes == ((64 * 7 * 7,),)
    assert (rows[flat + 1].type, rows[flat + 1].inputs) == ('Dense', (flat,))
    assert {row.type for row in rows if row.name.startswith('relu')} == {'Activation'}
    whole = mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=5, flatten=False, name='fc')
    assert [row.type for row in keras_rows(layers_of(whole, (1, 3, 8)))] == ['InputLayer', 'Dense']


@pytest.mark.parametrize('width', [80, 100, 120])
def test_names_are_folded_where_the_terminal_is_narrow(width):
    layers = preset('d121')
    lines = keras_summary('d121', layers, width).splitlines()
    assert max(map(len, lines)) <= width
    start = lines[2].index('Output Shape')
    column = ''.join('|' if set(line) == {'_'} else line[:start].strip() for line in lines[3:])
    names = [part.split('(')[0] for part in column.split('|')]
    assert [layer.name for layer in layers if 'stage3' in layer.name] == [
        name for name in names if 'stage3' in name
    ]
    words = keras_summary('d121', layers).splitlines()
    assert lines[-4:-1] == words[-4:-1]
    assert max(map(len, words)) > width
