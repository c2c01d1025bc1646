"""Shape inference: what it gives, and the one sentence it raises while mxnet stays silent."""

from __future__ import annotations

import pytest

from config import resolve
from config.errors import ConfigError
from symbols import get_symbol
from symbols.ir.shapes import infer_shapes, reason_of

import mxnet as mx


def network():
    body = mx.sym.Convolution(mx.sym.var('data'), kernel=(3, 3), num_filter=4, name='conv0')
    return mx.sym.BatchNorm(body, name='bn0')


def test_every_shape_is_given_by_name():
    shapes = infer_shapes(network(), data=(2, 3, 8, 8))
    assert shapes.arguments['conv0_weight'] == (4, 3, 3, 3)
    assert shapes.outputs == ((2, 4, 6, 6),)
    assert shapes.auxiliary == {'bn0_moving_mean': (4,), 'bn0_moving_var': (4,)}


@pytest.mark.parametrize(
    ('shapes', 'words'),
    [
        ({'data': (1, 3)}, r'the shapes data \(1, 3\) do not fit the graph: Error in operator conv0: '),
        ({}, 'the shapes none do not tell the shape of every parameter and output'),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_nothing_is_printed(shapes, words, capfd, recwarn):
    with pytest.raises(ConfigError, match=words) as caught:
        infer_shapes(network(), **shapes)
    message = str(caught.value)
    assert [noise for noise in ('\n', '.cc:', 'Check failed', 'Stack trace') if noise in message] == []
    assert tuple(capfd.readouterr()) == ('', '')
    assert not recwarn.list


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (
            'Traceback (most recent call last):\n  File "x.cc"\n'
            'MXNetError: Error in operator conv0: [02:45:03] ../src/operator/nn/convolution.cc:151: Check failed: '
            'a == b (2 vs. 4) : Input data should be 4D',
            'Error in operator conv0: a == b (2 vs. 4) : Input data should be 4D',
        ),
        ('one\n  the   last:\n', 'the last'),
        ('', 'ValueError'),
    ],
)
def test_the_reason_is_the_line_that_says_it(text, reason):
    assert reason_of(ValueError(text)) == reason


def test_images_too_small_for_a_network_are_refused_in_silence(capfd):
    with pytest.raises(ConfigError, match='is too small for net_name='):
        get_symbol(resolve('d121', image_shape=(8, 8, 3)))
    assert tuple(capfd.readouterr()) == ('', '')
