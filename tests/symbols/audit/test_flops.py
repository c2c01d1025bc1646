import ctypes

import pytest

from symbols.audit.core import audit
from symbols.audit.flops import FREE, RULES, count_macs
from symbols.ir.nodes import flag

import mxnet as mx
from mxnet.base import _LIB, OpHandle, c_str, check_call, py_str

sym = mx.sym
DATA = sym.var('data')


def macs_of(symbol, **shapes):
    return audit(symbol, shapes).total.flops


def conv(**kwargs):
    return sym.Convolution(DATA, no_bias=True, name='conv', **kwargs)


@pytest.mark.parametrize(
    ('symbol', 'shape', 'expected'),
    [
        (conv(kernel=(3, 3), num_filter=8, pad=(1, 1)), (1, 3, 10, 10), 8 * 100 * 3 * 9),
        (conv(kernel=(3, 3), num_filter=8, stride=(2, 2), pad=(1, 1)), (1, 3, 10, 10), 8 * 25 * 3 * 9),
        (conv(kernel=(3, 3), num_filter=8, dilate=(2, 2), pad=(2, 2)), (1, 3, 10, 10), 8 * 100 * 3 * 9),
        (conv(kernel=(3, 3), num_filter=8, num_group=4), (1, 8, 10, 10), 8 * 64 * 2 * 9),
        (conv(kernel=(5, 5), num_filter=16, num_group=16), (2, 16, 10, 10), 2 * 16 * 36 * 25),
        (conv(kernel=(3, 3), num_filter=8, layout='NHWC'), (1, 10, 10, 3), 8 * 64 * 3 * 9),
        (conv(kernel=(3,), num_filter=8), (1, 3, 10), 8 * 8 * 3 * 3),
        (conv(kernel=(1, 3, 3), num_filter=4), (1, 2, 5, 10, 10), 4 * 5 * 64 * 2 * 9),
        (sym.Convolution(DATA, kernel=(1, 1), num_filter=8), (1, 3, 4, 4), 8 * 16 * 3),  # a bias adds no MAC
        (sym.Deconvolution(DATA, kernel=(4, 4), stride=(2, 2), num_filter=6), (1, 3, 5, 5), 75 * 6 * 16),
        (
            sym.Deconvolution(DATA, kernel=(2, 2), stride=(2, 2), num_filter=6, num_group=3),
            (2, 3, 5, 5),
            150 * 2 * 4,
        ),
        (sym.FullyConnected(DATA, num_hidden=7), (2, 3, 4, 4), 2 * 7 * 48),
        (sym.FullyConnected(DATA, num_hidden=7, flatten=False), (2, 5, 48), 2 * 5 * 7 * 48),
        (
            sym.UpSampling(DATA, sym.var('w'), sample_type='bilinear', scale=2, num_filter=3),
            (1, 3, 5, 5),
            75 * 16,
        ),
        (sym.UpSampling(DATA, sample_type='nearest', scale=2), (1, 3, 5, 5), 0),
    ],
)
def test_macs_of_one_layer(symbol, shape, expected):
    assert macs_of(symbol, data=shape) == expected


@pytest.mark.parametrize('left', [False, True])
@pytest.mark.parametrize('right', [False, True])
def test_macs_of_matrix_products(left, right):
    a, b = (5, 4) if left else (4, 5), (6, 5) if right else (5, 6)
    x, y = sym.var('x'), sym.var('y')
    flags = {'transpose_a': left, 'transpose_b': right}
    assert macs_of(sym.dot(x, y, **flags), x=a, y=b) == 4 * 5 * 6
    assert macs_of(sym.batch_dot(x, y, **flags), x=(3, *a), y=(3, *b)) == 3 * 4 * 5 * 6
    assert macs_of(sym.linalg.gemm2(x, y, **flags), x=(3, *a), y=(3, *b)) == 3 * 4 * 5 * 6
    gemm = sym.linalg.gemm(x, y, sym.var('z'), **flags)
    assert macs_of(gemm, x=(3, *a), y=(3, *b), z=(3, 4, 6)) == 3 * 4 * 5 * 6


def test_macs_of_further_products():
    assert macs_of(sym.dot(sym.var('x'), sym.var('y')), x=(5,), y=(5,)) == 5
    assert macs_of(sym.dot(sym.var('x'), sym.var('y')), x=(2, 3, 5), y=(5, 7)) == 2 * 3 * 5 * 7
    assert macs_of(sym.linalg.syrk(sym.var('x')), x=(4, 5)) == 4 * 4 * 5
    assert macs_of(sym.linalg.syrk(sym.var('x'), transpose=True), x=(4, 5)) == 5 * 5 * 4
    offset = sym.var('offset')
    deformable = sym.contrib.DeformableConvolution(DATA, offset, kernel=(3, 3), num_filter=8)
    assert macs_of(deformable, data=(1, 4, 10, 10), offset=(1, 18, 8, 8)) == 8 * 64 * 4 * 9


@pytest.mark.parametrize('cell', [mx.gluon.rnn.LSTM, mx.gluon.rnn.GRU, mx.gluon.rnn.RNN])
@pytest.mark.parametrize('bidirectional', [False, True])
def test_macs_of_a_recurrent_layer_use_each_weight_once_per_step(cell, bidirectional):
    steps, batch, width = 5, 2, 6
    layer = cell(7, num_layers=2, bidirectional=bidirectional, input_size=width)
    symbol = layer(DATA)
    _, _, _ = symbol.infer_shape(data=(steps, batch, width))
    weights = sum(
        rows * columns
        for rows, columns in (p.shape for p in layer.collect_params().values() if p.name.endswith('weight'))
    )
    assert macs_of(symbol, data=(steps, batch, width)) == steps * batch * weights


def test_macs_of_a_projected_lstm():
    layer = mx.gluon.rnn.LSTM(8, projection_size=3, input_size=6)
    weights = 4 * 8 * (6 + 3) + 8 * 3
    assert macs_of(layer(DATA), data=(5, 2, 6)) == 5 * 2 * weights


def test_an_unknown_operator_is_not_zero():
    assert count_macs('Correlation', {}, [(1, 3, 8, 8)], [(1, 3, 8, 8)]) is None


def test_the_tables_hold_mxnet_own_names():
    assert not FREE & set(RULES)
    for name in sorted(FREE | set(RULES)):
        handle, canonical = OpHandle(), ctypes.c_char_p()
        check_call(_LIB.NNGetOpHandle(c_str(name), ctypes.byref(handle)))
        check_call(_LIB.MXSymbolGetAtomicSymbolName(handle, ctypes.byref(canonical)))
        assert py_str(canonical.value) == name


def test_flag_reads_every_spelling():
    assert [flag({'x': text}, 'x', False) for text in ('True', 'true', '1', 'False', '0')] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert flag({}, 'x', True)
    assert not flag({}, 'x', False)


def test_macs_of_a_projected_lstm_of_two_layers_in_both_directions():
    """The second layer reads what both directions of the first have projected: 2 x 3 values."""
    layer = mx.gluon.rnn.LSTM(8, num_layers=2, bidirectional=True, projection_size=3, input_size=6)
    weights = 2 * (4 * 8 * (6 + 3) + 8 * 3) + 2 * (4 * 8 * (2 * 3 + 3) + 8 * 3)
    assert macs_of(layer(DATA), data=(5, 2, 6)) == 5 * 2 * weights
