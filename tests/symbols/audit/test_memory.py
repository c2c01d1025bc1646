"""The memory of activations, by hand on small graphs."""

from __future__ import annotations

import pytest

from config import resolve
from symbols import get_symbol
from symbols.audit.core import audit
from symbols.audit.memory import estimate_memory

import mxnet as mx

SHAPE = {'data': (1, 4, 8, 8)}
MAP = 4 * 4 * 8 * 8  # bytes of a map of that shape


def memory(symbol, shapes=SHAPE):
    return estimate_memory(symbol, shapes, audit(symbol, shapes))


def conv(x, name):
    return mx.sym.Convolution(x, num_filter=4, kernel=(3, 3), pad=(1, 1), no_bias=True, name=name)


def test_a_chain_needs_two_maps_at_once_and_all_of_them_in_training():
    x = mx.sym.var('data')
    for number in range(5):
        x = conv(x, f'conv{number}')
    found = memory(x)
    assert found.parameters == found.gradients == 5 * 4 * 4 * 9 * 4
    assert found.inference_activations == 2 * MAP
    # the five outputs; when the last one is taken backward its gradient and that of its input are there, too
    assert found.training_activations == (5 + 2) * MAP
    assert found.inference == found.parameters + 2 * MAP
    assert found.training == 2 * found.parameters + 7 * MAP


def test_what_is_written_in_place_takes_nothing():
    relu = mx.sym.Activation(conv(mx.sym.var('data'), 'conv'), act_type='relu')
    assert memory(relu).inference_activations == MAP
    assert memory(mx.sym.Flatten(relu)).inference_activations == MAP


def test_a_skip_keeps_its_map_until_the_sum():
    stem = conv(mx.sym.var('data'), 'stem')
    body = conv(conv(stem, 'one'), 'two')
    assert memory(body + stem).inference_activations == 3 * MAP


def test_an_input_that_is_needed_later_is_not_written_over():
    x = conv(mx.sym.var('data'), 'conv')
    both = mx.sym.Group([mx.sym.Activation(x, act_type='relu'), x])
    assert memory(both).inference_activations == 2 * MAP


def test_half_precision_takes_half():
    x = mx.sym.Cast(conv(mx.sym.var('data'), 'conv'), dtype='float16')
    x = mx.sym.Convolution(x, mx.sym.var('w', dtype='float16'), num_filter=4, kernel=(1, 1), no_bias=True)
    assert memory(x).inference_activations == MAP + MAP // 2


@pytest.mark.parametrize('preset', ['r18', 'd121', 'y1'])
def test_activations_grow_with_the_batch_and_training_needs_more(preset):
    symbol = get_symbol(resolve(preset))
    one, four = (memory(symbol, {'data': (batch, 3, 112, 112)}) for batch in (1, 4))
    assert four.inference_activations == 4 * one.inference_activations
    assert four.training_activations == 4 * one.training_activations
    assert one.parameters == four.parameters
    assert one.training_activations > 2 * one.inference_activations
