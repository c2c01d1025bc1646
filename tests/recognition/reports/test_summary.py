"""Our print_summary beside mxnet's: the same lines where that is right, and the right numbers where it is not."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from config import resolve
from config.errors import ConfigError
from recognition.reports.summary import print_summary
from symbols import get_symbol
from symbols.audit.core import audit
from symbols.passes.prelu import as_operators

import mxnet as mx

FACE = {'data': (1, 3, 112, 112)}


def printed(function, *args, **options):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        function(*args, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'line_length': 90},
        {'positions': (40, 60, 80, 120)},
        {'line_length': 150, 'positions': [0.5, 0.7, 0.8, 1]},
    ],
)
@pytest.mark.parametrize('preset', ['r18', 'd121', 'xception'])
def test_the_same_lines_where_mxnet_s_numbers_are_right(preset, options):
    symbol = get_symbol(resolve(preset, net_act='relu'))
    assert printed(print_summary, symbol, FACE, **options) == printed(
        mx.viz.print_summary, symbol, FACE, **options
    )


@pytest.mark.parametrize('preset', ['r50', 'd121', 'y1', 'mnas025', 'vargfacenet'])
def test_the_true_total_with_prelu(preset):
    symbol = get_symbol(resolve(preset))
    text = printed(print_summary, symbol, shape=FACE)
    assert (
        int(re.search(r'^Total params: (\d+)$', text, re.MULTILINE).group(1))
        == audit(symbol, FACE).total.parameters
    )
    theirs = printed(mx.viz.print_summary, as_operators(symbol), shape=FACE)
    assert len(theirs.splitlines()) == len(text.splitlines())


def test_where_mxnet_s_crashes_or_flattens_wrongly():
    body = mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=7, name='fc')
    assert 'Total params: 10507\n' in printed(print_summary, body, {'data': (2, 6, 5, 50)})
    mean = mx.sym.broadcast_div(body, mx.sym.mean(body, name='mean'), name='end')
    assert 'Total params: 10507\n' in printed(print_summary, mean, {'data': (2, 6, 5, 50)})


def test_without_shapes_it_asks_for_them():
    with pytest.raises(ConfigError, match='give the shape of every input'):
        print_summary(get_symbol(resolve('r18')))
