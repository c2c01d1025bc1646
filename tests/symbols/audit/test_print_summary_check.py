import re

import pytest

from config import resolve
from symbols import get_symbol
from symbols.audit.core import audit
from symbols.audit.print_summary_check import check_summary

import mxnet as mx

sym = mx.sym
DATA = sym.var('data')


def checked(symbol, **shapes):
    audited = audit(symbol, shapes)
    check = check_summary(symbol, shapes, audited)
    assert sum(item.difference for item in check.differences) == audited.total.parameters - (check.total or 0)
    return check


def reasons(check):
    return {item.layer: item.reason for item in check.differences}


def test_the_total_is_what_print_summary_prints(capsys):
    body = sym.Convolution(DATA, kernel=(3, 3), num_filter=4, name='a_name_of_a_layer_that_is_long' * 8)
    symbol = sym.BatchNorm(body + sym.Convolution(DATA, kernel=(3, 3), num_filter=4), name='bn')
    check = checked(symbol, data=(1, 3, 8, 8))
    assert capsys.readouterr().out == ''
    mx.viz.print_summary(symbol, shape={'data': (1, 3, 8, 8)})
    printed = int(re.search(r'Total params: (\d+)', capsys.readouterr().out).group(1))
    assert check.total == printed == 2 * 112 + 8
    assert check.layers == (112, 112, 0, 8)
    assert check.differences == ()


def test_an_implicit_flatten_and_prelu_slopes():
    body = sym.Convolution(DATA, kernel=(1, 1), num_filter=4, no_bias=True, name='conv')
    body = sym.LeakyReLU(body, act_type='prelu', name='relu')
    check = checked(sym.FullyConnected(body, num_hidden=5, name='pre_fc1'), data=(1, 3, 7, 7))
    assert check.total == 12 + 5 * 5
    slopes, dense = check.differences
    assert (slopes.layer, slopes.difference) == ('relu', 4)
    assert slopes.reason == 'print_summary does not count PReLU slopes'
    assert (dense.layer, dense.audit, dense.print_summary) == ('pre_fc1', 5 * 4 * 49 + 5, 25)
    assert dense.reason == (
        'it flattens its 1x4x7x7 input to 196 features; print_summary counts 4, the second axis alone'
    )


def test_an_explicit_flatten_is_right():
    body = sym.Flatten(sym.Convolution(DATA, kernel=(1, 1), num_filter=4))
    assert checked(sym.FullyConnected(body, num_hidden=5), data=(1, 3, 7, 7)).differences == ()


W = sym.var('w')
FIRST = sym.FullyConnected(DATA, W, num_hidden=4, no_bias=True, name='first')
SPLIT = sym.SliceChannel(DATA, num_outputs=2, name='split')


def conv(data=DATA, **kwargs):
    return sym.Convolution(data, kernel=(1, 1), num_filter=4, name='x', **kwargs)


def dense(data=DATA, *weight, **kwargs):
    return sym.FullyConnected(data, *weight, num_hidden=4, name='x', **kwargs)


@pytest.mark.parametrize(
    ('symbol', 'shape', 'reason'),
    [
        (dense(FIRST, W, no_bias=True), (1, 4), 'w is shared: it counts at first'),
        (dense(DATA, W * 2), (1, 3), 'takes _mulscalar'),
        (dense(flatten=False), (1, 5, 6), 'works on the last axis of its 1x5x6 input'),
        (conv(layout='NHWC'), (1, 8, 8, 3), 'its layout is NHWC'),
        (conv(no_bias=1), (1, 3, 8, 8), 'does not understand no_bias=1'),
        (conv(SPLIT[1]), (1, 4, 8, 8), 'one output of several of split'),
        (sym.BatchNorm(DATA, axis=3, name='x'), (1, 8, 8, 3), 'normalises axis 3'),
        (sym.BatchNorm(DATA, axis=-1, name='x'), (1, 8, 8, 3), 'normalises axis -1'),
        (
            sym.Deconvolution(DATA, kernel=(2, 2), num_filter=4, name='x'),
            (1, 3, 8, 8),
            'parameters of Deconvolution',
        ),
        (sym.LayerNorm(DATA, name='x'), (1, 5), 'parameters of LayerNorm'),
        (sym.broadcast_mul(DATA, sym.var('scale', shape=(1, 5)), name='x'), (1, 5), 'plain arithmetic'),
        (sym.Group([FIRST, sym.var('x', shape=(7,))]), (1, 3), 'itself an output'),
    ],
)
def test_every_kind_of_difference_has_its_reason(symbol, shape, reason):
    assert reason in reasons(checked(symbol, data=shape))['x']


def test_a_second_input_is_not_looked_up():
    other = sym.FullyConnected(sym.var('other'), num_hidden=4, name='fc')
    check = checked(sym.FullyConnected(DATA, num_hidden=4) + other, data=(1, 3), other=(1, 6))
    assert reasons(check) == {
        'fc': 'its input other is a variable, whose channels print_summary does not look up'
    }


def test_a_weight_given_as_input_is_no_parameter():
    symbol = sym.FullyConnected(DATA, W, no_bias=True, num_hidden=4, name='fc')
    assert reasons(checked(symbol, data=(1, 3), w=(4, 3))) == {'fc': 'w is an input, not a parameter'}


def test_equal_names_confuse_print_summary():
    body = sym.Convolution(DATA, kernel=(1, 1), num_filter=2, name='first')
    body = sym.Convolution(
        sym.Activation(body, act_type='relu', name='same'), kernel=(1, 1), num_filter=2, name='mid'
    )
    check = checked(sym.Concat(body, body, body, name='same'), data=(1, 3, 8, 8))
    assert reasons(check) == {'mid': 'several nodes are called same, and print_summary takes the last'}


def test_where_it_crashes_the_layer_and_the_reason_are_told():
    mean = sym.mean(DATA, name='mean')
    body = sym.FullyConnected(sym.broadcast_div(DATA, mean, name='divide'), num_hidden=2, name='fc')
    audited = audit(body, {'data': (1, 3)})
    check = check_summary(body, {'data': (1, 3)}, audited)
    assert check.total is None
    assert check.error.startswith('crashes at divide: IndexError: tuple index out of range')
    assert check.layers == (None, None, None)
    assert check.differences == ()


@pytest.mark.parametrize(('act', 'slopes'), [('prelu', 119), ('relu', 0)])
def test_the_total_that_an_article_has_for_insightface_s_densenet(act, slopes):
    """InsightFace flattens no map before head E's dense layer, of whose inputs print_summary counts the channels."""
    shapes = {'data': (1, 3, 112, 112)}
    body = get_symbol(resolve('d121', net_act=act)).get_internals()['dropout0_output']
    head = mx.sym.FullyConnected(body, num_hidden=512, name='pre_fc1')
    symbol = mx.sym.BatchNorm(head, fix_gamma=True, name='fc1')
    audited = audit(symbol, shapes)
    assert check_summary(symbol, shapes, audited).total == 7474048
    assert audited.total.parameters == 7474048 + 512 * 1024 * (7 * 7 - 1) + slopes


def test_a_label_that_the_audit_knows_is_given_to_print_summary(recwarn):
    label = sym.var('softmax_label')
    dense = sym.FullyConnected(DATA, num_hidden=5, name='fc7')
    hot = sym.one_hot(sym.Reshape(label, shape=(-1,)), depth=5)
    symbol, shapes = sym.SoftmaxOutput(dense + hot, label), {'data': (2, 3)}
    check = check_summary(symbol, shapes, audit(symbol, shapes))
    assert check.error.startswith('crashes at one_hot')
    assert not recwarn.list


def test_names_with_a_dollar_are_audited():
    symbol = sym.FullyConnected(
        sym.relu(DATA, name='$a'), sym.var('$w', lr_mult=0), no_bias=True, num_hidden=2
    )
    assert audit(symbol, {'data': (1, 3)}).total.fixed == 6
