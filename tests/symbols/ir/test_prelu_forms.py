"""PReLU in the forms that programs build it of: each is one node, and what is no PReLU is none."""

from __future__ import annotations

import numpy as np
import pytest

from symbols.activations import PReLU
from symbols.audit.core import audit
from symbols.graph.builder import build_graph
from symbols.ir.nodes import list_nodes
from symbols.ir.prelu_forms import PRELU, merge_prelus
from symbols.ir.rewriter import describe
from symbols.passes.prelu import for_training

import mxnet as mx

S = mx.sym
CHANNELS, IMAGE = 4, {'data': (2, 3, 6, 5)}


def relu(x):
    return S.Activation(x, act_type='relu')


def below(x, most=0.0):
    return S._internal._minimum_scalar(x, scalar=most)


def slopes(shape=(1, CHANNELS, 1, 1)):
    return S.var('a', shape=shape)


def spread():
    return S.Reshape(slopes((CHANNELS,)), shape=(1, -1, 1, 1))


def remainder(x, a):
    return S.broadcast_mul(x, a) + S.broadcast_mul(relu(x), 1 - a)


def halved(x, a):
    return (S.broadcast_mul(x, 1 + a) + S.broadcast_mul(S.abs(x), 1 - a)) * 0.5


FORMS = {
    'one operator': lambda x: S.LeakyReLU(x, slopes((CHANNELS,)), act_type='prelu'),
    'shared': lambda x: S.LeakyReLU(x, slopes((1,)), act_type='prelu'),
    'ours': lambda x: PReLU('p', CHANNELS, parameter='a')(x),
    'broadcast': lambda x: relu(x) + S.broadcast_mul(below(x), slopes()),
    'reshaped slopes': lambda x: S.broadcast_add(S.broadcast_mul(spread(), below(x)), S.relu(x)),
    'of a negative': lambda x: relu(x) - S.broadcast_mul(slopes(), relu(-x)),
    'absolute value': lambda x: relu(x) + S.broadcast_mul(slopes(), x - S.abs(x)) * 0.5,
    'where': lambda x: S.where(x > 0, x, S.broadcast_mul(x, slopes())),
    'what is left to 1': lambda x: remainder(x, slopes()),
    'halved at the end': lambda x: halved(x, slopes()),
    'sign': lambda x: relu(x) + S.broadcast_mul(slopes(), x) * (1 - S.sign(x)) / 2,
    'clips': lambda x: S.clip(x, 0, 1e30) + S.broadcast_mul(slopes(), S.clip(x, -1e30, 0)),
    'masks': lambda x: x * (x > 0) + S.broadcast_mul(slopes(), x) * (x <= 0),
    'a factor chosen': lambda x: x * S.where(x > 0, S.ones_like(x), S.broadcast_like(slopes(), x)),
}
NONE = {
    'clipped elsewhere': lambda x: relu(x) + S.broadcast_mul(below(x, 0.1), slopes()),
    'twice the slope': lambda x: relu(x) + S.broadcast_mul(below(x), slopes()) * 2,
    'residual': lambda x: x + relu(x),
    'clipped above': lambda x: S.clip(x, 0, 6) + S.broadcast_mul(slopes(), below(x)),
    'leaky': lambda x: relu(x) + below(x) * 0.25,
    'other sign': lambda x: relu(x) - S.broadcast_mul(below(x), slopes()),
    'two parameters': lambda x: (
        S.broadcast_mul(relu(x), slopes()) + S.broadcast_mul(below(x), S.var('b', shape=(1,) * 4))
    ),
    'a factor for each pixel': lambda x: relu(x) + S.broadcast_mul(below(x), slopes((2, CHANNELS, 6, 5))),
    'a tanh': lambda x: S.tanh(x) + S.broadcast_mul(below(x), slopes()),
}


def network(form):
    x = S.Convolution(S.var('data'), num_filter=CHANNELS, kernel=(1, 1), name='conv')
    return S.FullyConnected(form(x), num_hidden=2, name='fc1')


def merged(symbol):
    return merge_prelus(list_nodes(symbol, IMAGE), describe(symbol)['heads'])


@pytest.mark.parametrize('name', FORMS)
def test_each_form_computes_a_prelu_and_is_one(name):
    draw = np.random.RandomState(0)
    x, a = draw.randn(2, CHANNELS, 3, 3).astype(np.float32), draw.randn(CHANNELS).astype(np.float32)
    symbol = FORMS[name](S.var('x'))
    (held,) = {*symbol.list_arguments()} - {'x'}
    executor = symbol.simple_bind(mx.cpu(), x=x.shape, grad_req='null')
    count = int(np.prod(executor.arg_dict[held].shape))
    executor.copy_params_from(
        {'x': mx.nd.array(x), held: mx.nd.array(a[:count]).reshape(executor.arg_dict[held].shape)}
    )
    slope = a[:count].reshape(1, -1, 1, 1)
    np.testing.assert_allclose(executor.forward()[0].asnumpy(), np.where(x > 0, x, slope * x), atol=1e-6)

    nodes, members = merged(network(FORMS[name]))
    operators = [node.operator for node in nodes if not node.is_variable]
    assert operators == ['Convolution', PRELU, 'FullyConnected']
    assert sorted(i for own in members for i in own) == list(
        range(len(list_nodes(network(FORMS[name]), IMAGE)))
    )


@pytest.mark.parametrize('name', FORMS)
def test_the_audit_and_the_picture_have_one_row_for_each_form(name):
    symbol = network(FORMS[name])
    audited = audit(symbol, IMAGE)
    row = audited.layers[1]
    wanted = 1 if name == 'shared' else CHANNELS
    assert (row.operator, row.size(), row.flops, row.input_shapes) == (
        PRELU,
        wanted,
        0,
        ((2, CHANNELS, 6, 5),),
    )
    assert len(audited.layers) == 3
    graph = build_graph(symbol, IMAGE, 'operators')
    assert [box.title for box in graph.boxes if box.kind == 'operator'] == ['Conv 1×1, 4', 'PReLU', 'Dense 2']
    assert graph.macs == audited.total.flops == 2 * 4 * 30 * 3 + 2 * 2 * 120


@pytest.mark.parametrize('name', NONE)
def test_what_is_no_prelu_stays(name):
    symbol = network(NONE[name])
    nodes, members = merged(symbol)
    assert nodes == list_nodes(symbol, IMAGE)
    assert all(len(own) == 1 for own in members)


def test_what_something_else_reads_stays():
    def shown(x):
        negative = below(x)
        return S.Concat(relu(x) + S.broadcast_mul(negative, slopes()), negative)

    assert PRELU not in [node.operator for node in merged(network(shown)).nodes]
    x = S.Convolution(S.var('data'), num_filter=CHANNELS, kernel=(1, 1), name='conv')
    negative = below(x)
    both = S.Group([relu(x) + S.broadcast_mul(negative, slopes()), negative])
    assert PRELU not in [node.operator for node in merged(both).nodes]


def test_one_behind_the_other_and_beside_a_sum():
    def chain(x):
        y = FORMS['broadcast'](x)
        return x + (relu(y) - S.broadcast_mul(S.var('b', shape=(1, CHANNELS, 1, 1)), relu(-y)))

    operators = [node.operator for node in merged(network(chain)).nodes if not node.is_variable]
    assert operators == ['Convolution', PRELU, PRELU, 'elemwise_add', 'FullyConnected']


def test_the_form_that_trains_is_one_with_its_constants():
    symbol, constants = for_training(network(FORMS['ours']), IMAGE)
    row = audit(symbol, IMAGE).layers[1]
    assert row.operator == PRELU
    assert {each.name for each in row.parameters} == {'p_a', *constants}
