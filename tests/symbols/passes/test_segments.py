"""Networks cut into segments: put together they are the network, and they need less memory."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from config.presets import FAMILIES
from symbols import get_symbol
from symbols.passes.segments import cut
from tests.helpers.narrow import small

import mxnet as mx

SHAPE = {'data': (1, 3, 112, 112)}
PRESETS = [next(iter(family.presets)) for family in FAMILIES.values()]


def values_of(symbol, shape):
    arguments, _, auxiliary = symbol.infer_shape(data=shape)
    draw = np.random.RandomState(0)
    values = {}
    for name, shape in zip(symbol.list_arguments(), arguments):
        values[name] = mx.nd.array(draw.randn(*shape) * 0.1 + name.endswith('gamma'))
    for name, shape in zip(symbol.list_auxiliary_states(), auxiliary):
        values[name] = mx.nd.array(np.full(shape, float(name.endswith('var'))))
    return values


def run(symbol, values, name, data):
    arguments = {each: values[each] for each in symbol.list_arguments() if each != name}
    states = {each: values[each] for each in symbol.list_auxiliary_states()}
    executor = symbol.bind(mx.cpu(), {name: data, **arguments}, aux_states=states, grad_req='null')
    return executor.forward(is_train=False)[0]


@pytest.mark.parametrize('preset', PRESETS)
def test_the_segments_together_are_the_network(preset):
    height, width, channels = image_shape = resolve(preset).image_shape
    symbol, shape = get_symbol(small(preset, image_shape=image_shape)), (1, channels, height, width)
    segments = cut(symbol, {'data': shape})
    assert len(segments) > 2
    values = values_of(symbol, shape)
    values['data'] = mx.nd.array(np.random.RandomState(1).randint(0, 256, shape))
    data = values['data']
    for segment in segments:
        data = run(segment.symbol, values, segment.input, data)
    np.testing.assert_array_equal(data.asnumpy(), run(symbol, values, 'data', values['data']).asnumpy())
    trained = [name for each in segments for name in each.symbol.list_arguments() if name != each.input]
    assert sorted(trained) == sorted(set(symbol.list_arguments()) - {'data'})  # each in one segment alone


def test_a_parameter_that_two_layers_read_is_not_cut_apart_unless_it_is_a_constant():
    x, shared = mx.sym.var('data'), mx.sym.var('shared', shape=(1, 3, 1, 1))
    for number in range(6):
        x = mx.sym.broadcast_add(mx.sym.relu(x, name=f'relu{number}'), shared)
    assert len(cut(x, SHAPE)) == 1
    assert len(cut(x, SHAPE, constants=['shared'])) > 1


def test_a_network_that_one_tensor_never_passes_is_one_segment():
    x = mx.sym.var('data')
    left, right = (mx.sym.relu(mx.sym.sqrt(x, name=f'root{i}'), name=f'relu{i}') for i in (0, 1))
    (segment,) = cut(mx.sym.elemwise_add(left, right), SHAPE)
    assert segment.input == 'data'


def test_segments_with_random_numbers_say_so():
    x = mx.sym.var('data')
    for number in range(8):
        x = mx.sym.relu(mx.sym.sqrt(x, name=f'root{number}'), name=f'relu{number}')
        x = mx.sym.Dropout(x) if number == 5 else x
    drawing = ['Dropout' in each.symbol.tojson() for each in cut(x, SHAPE)]
    assert drawing == [each.random for each in cut(x, SHAPE)]
    assert sum(drawing) == 1 < len(drawing)


def test_the_last_segment_is_longer_but_an_eighth_of_the_network_at_most():
    """It runs once, so a longer one saves time; the others are as short as makes the least memory."""
    x = mx.sym.var('data')
    for number in range(200):
        x = mx.sym.relu(x, name=f'relu{number}')
    *others, last = cut(x, SHAPE)
    count = [len(each.symbol.get_internals().list_outputs()) - 1 for each in (*others, last)]
    assert sum(count) == 200
    assert 200 / 8 >= count[-1] > max(count[:-1])
    assert {each.largest for each in (*others, last)} == {3 * 112 * 112}
