"""Sums over stages and blocks, which add up to the whole for every preset."""

from __future__ import annotations

import pytest

from config import resolve
from config.presets import FAMILIES
from symbols import get_symbol
from symbols.audit.core import audit
from symbols.graph.layers import layer_table
from symbols.graph.subtotals import BLOCK, STAGE, subtotals

import mxnet as mx

PRESETS = [  # slow are those of a family that are like its first, but longer or narrower
    pytest.param(preset, marks=pytest.mark.slow if number else [])
    for family in FAMILIES.values()
    for number, preset in enumerate(family.presets)
]
LAYERS = {  # of which our networks are made; no other operator of mxnet is left
    *(
        'InputLayer',
        'Rescaling',
        'Conv2D',
        'DepthwiseConv2D',
        'SeparableConv2D',
        'Dense',
        'BatchNormalization',
    ),
    *('PReLU', 'ReLU', 'ELU', 'Add', 'Concatenate', 'Dropout', 'MaxPooling2D', 'AveragePooling2D'),
    *('GlobalAveragePooling2D', 'GlobalMaxPooling2D'),
}
SUMS = ('trainable', 'fixed', 'auxiliary', 'flops', 'bytes')


def found(symbol, shapes):
    audited = audit(symbol, shapes)
    return audited, subtotals(symbol, shapes, audited)


@pytest.mark.parametrize('preset', PRESETS)
def test_stages_and_layers_add_up_to_the_total(preset):
    cfg = resolve(preset)
    height, width, channels = cfg.image_shape
    symbol, shapes = get_symbol(cfg), {'data': (1, channels, height, width)}
    audited, parts = found(symbol, shapes)
    stages = [part for part in parts if part.level == STAGE]
    layers = [layer.name for part in stages for layer in part.layers]
    assert sorted(layers) == sorted(layer.name for layer in audited.layers)
    rows = layer_table(symbol, shapes, audited).layers
    for key in SUMS:
        assert sum(getattr(part, key) for part in stages) == getattr(audited.total, key)
        assert sum(getattr(row, key) for row in rows) == getattr(audited.total, key)
    assert {row.type for row in rows} <= LAYERS


def test_the_blocks_of_a_resnet():
    _, parts = found(get_symbol(resolve('r18', net_act='relu')), {'data': (1, 3, 112, 112)})
    assert [part.name for part in parts if part.level == STAGE] == [
        'stem',
        'stage1',
        'stage2',
        'stage3',
        'stage4',
        'head',
    ]
    assert [part.level for part in parts[:4]] == [STAGE, STAGE, BLOCK, BLOCK]
    assert len({part.name for part in parts[2:4]}) == 2
    assert parts[2].trainable + parts[3].trainable == parts[1].trainable


def test_a_parameter_that_is_an_output_has_its_place():
    weight = mx.sym.var('w', shape=(3, 4))
    symbol = mx.sym.Group([mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=2, name='fc'), weight])
    audited, parts = found(symbol, {'data': (1, 5)})
    assert sum(part.trainable for part in parts if part.level == STAGE) == audited.total.trainable == 24
