from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import resolve
from config.errors import ConfigError
from symbols import get_symbol
from symbols.audit.core import Parameter, audit, audit_block
from symbols.audit.print_summary_check import check_summary

import mxnet as mx

sym = mx.sym
IMAGE = {'data': (2, 3, 8, 8)}


def small_network():
    body = sym.Convolution(
        sym.var('data'), kernel=(3, 3), pad=(1, 1), num_filter=4, no_bias=True, name='conv0'
    )
    body = sym.BatchNorm(body, fix_gamma=False, name='bn0')
    body = sym.LeakyReLU(body, act_type='prelu', name='relu0')
    body = sym.FullyConnected(body, num_hidden=5, name='pre_fc1')
    return sym.BatchNorm(body, name='fc1')  # fix_gamma is True by default


def expected_sums(symbol, shapes):
    arguments, _, states = symbol.infer_shape(**shapes)
    named = dict(zip(symbol.list_arguments(), arguments))
    parameters = sum(prod(shape) for name, shape in named.items() if name not in shapes)
    return parameters, sum(map(prod, states))


def kinds(audited):
    return {p.name: p.kind for layer in audited.layers for p in layer.parameters}


def test_rows_of_a_small_network():
    audited = audit(small_network(), IMAGE)
    assert audited.inputs == {'data': (2, 3, 8, 8)}
    rows = {layer.name: layer for layer in audited.layers}
    assert list(rows) == ['conv0', 'bn0', 'relu0', 'pre_fc1', 'fc1']
    assert rows['conv0'].parameters == (Parameter('conv0_weight', (4, 3, 3, 3), 'trainable'),)
    assert rows['conv0'].output_shapes == ((2, 4, 8, 8),)
    assert rows['conv0'].flops == 2 * 4 * 64 * 27
    assert [(p.name, p.kind) for p in rows['fc1'].parameters] == [
        ('fc1_gamma', 'fixed'),
        ('fc1_beta', 'trainable'),
        ('fc1_moving_mean', 'auxiliary'),
        ('fc1_moving_var', 'auxiliary'),
    ]
    assert rows['relu0'].size() == 4
    assert rows['pre_fc1'].size() == 5 * 4 * 64 + 5
    assert rows['pre_fc1'].flops == 2 * 5 * 4 * 64


def test_totals_of_a_small_network():
    total = audit(small_network(), IMAGE).total
    assert total.fixed == 5
    assert total.trainable == 108 + 8 + 4 + 1285 + 5
    assert total.parameters == total.trainable + total.fixed
    assert total.auxiliary == 8 + 10
    assert (total.parameters, total.auxiliary) == expected_sums(small_network(), IMAGE)
    assert total.flops == 2 * (4 * 64 * 27 + 5 * 256)


def test_a_shared_parameter_counts_once_and_says_with_whom():
    weight = sym.var('w')
    one = sym.FullyConnected(sym.var('data'), weight, no_bias=True, num_hidden=4, name='one')
    two = sym.FullyConnected(one, weight, no_bias=True, num_hidden=4, name='two')
    audited = audit(two, {'data': (1, 4)})
    assert audited.total.parameters == 16
    first, second = audited.layers
    assert first.parameters == (Parameter('w', (4, 4), 'trainable', shared_with=('two',)),)
    assert second.parameters == ()
    assert second.shared == {'w': 'one'}
    assert second.flops == 16


def test_two_variables_of_one_name_are_one_parameter():
    one = sym.FullyConnected(sym.var('data'), sym.var('w'), no_bias=True, num_hidden=4, name='one')
    two = sym.FullyConnected(one, sym.var('w'), no_bias=True, num_hidden=4, name='two')
    assert audit(two, {'data': (1, 4)}).total.parameters == 16
    with pytest.raises(ConfigError, match=r"two variables are called 'w', of shapes \(4, 6\) and \(4, 4\)"):
        audit(two, {'data': (1, 6)})


def test_parameters_of_plain_arithmetic_count_at_their_first_reader():
    scale = sym.var('scale', shape=(1, 3, 1, 1))
    data = sym.var('data')
    first = sym.broadcast_mul(data, scale, name='first')
    symbol = sym.broadcast_add(first, scale * 2, name='second')
    rows = {layer.name: layer for layer in audit(symbol, IMAGE).layers}
    assert [p.name for p in rows['first'].parameters] == ['scale']
    assert sum(layer.size() for layer in rows.values()) == 3
    assert len(rows['first'].parameters[0].shared_with) == 1


def test_a_parameter_that_is_an_output_counts():
    symbol = sym.Group(
        [sym.FullyConnected(sym.var('data'), num_hidden=2, name='fc'), sym.var('free', shape=(7,))]
    )
    audited = audit(symbol, {'data': (1, 3)})
    assert audited.total.parameters == 3 * 2 + 2 + 7
    assert [(layer.name, layer.operator) for layer in audited.layers] == [
        ('fc', 'FullyConnected'),
        ('free', 'null'),
    ]


def test_fixed_by_lr_mult_and_by_name():
    weight = sym.var('w', lr_mult=0)
    symbol = sym.FullyConnected(sym.var('data'), weight, num_hidden=4, name='fc')
    assert kinds(audit(symbol, {'data': (1, 4)})) == {'w': 'fixed', 'fc_bias': 'trainable'}
    assert kinds(audit(symbol, {'data': (1, 4)}, fixed=['fc_bias']))['fc_bias'] == 'fixed'
    with pytest.raises(ConfigError, match=r"fixed='fc_bia' .*did you mean 'fc_bias'"):
        audit(symbol, {'data': (1, 4)}, fixed=['fc_bia'])


@pytest.mark.parametrize(('other', 'kind'), [(True, 'fixed'), (False, 'trainable')])
def test_a_shared_gamma_is_fixed_only_where_every_reader_ignores_it(other, kind):
    gamma = sym.var('gamma')
    one = sym.BatchNorm(sym.var('data'), gamma=gamma, name='one')
    two = sym.BatchNorm(one, gamma=gamma, fix_gamma=other, name='two')
    assert kinds(audit(two, IMAGE))['gamma'] == kind


def test_labels_and_starting_states_are_inputs():
    net = sym.FullyConnected(sym.var('data'), num_hidden=4, name='fc')
    audited = audit(sym.SoftmaxOutput(net, name='softmax'), {'data': (2, 3)})
    assert audited.inputs == {'data': (2, 3), 'softmax_label': (2,)}
    assert audited.total.parameters == 16
    rnn = sym.RNN(
        sym.var('data'), sym.var('p'), sym.var('s'), state_size=4, num_layers=1, mode='gru', name='rnn'
    )
    audited = audit(rnn, {'data': (5, 2, 3)})
    assert set(audited.inputs) == {'data', 's'}
    assert audited.total.parameters == 3 * 4 * (3 + 4 + 2)


def test_an_operator_without_a_rule_is_uncounted():
    data = sym.var('data')
    symbol = sym.Correlation(data, data, kernel_size=1, max_displacement=1, pad_size=1, name='corr')
    audited = audit(symbol, IMAGE)
    assert [layer.name for layer in audited.uncounted] == ['corr']
    assert audited.layers[0].flops is None


def test_strange_names_and_several_outputs():
    parts = sym.SliceChannel(sym.var('my data:0'), num_outputs=3, name='a b')
    again = sym.SliceChannel(parts[0], num_outputs=2, axis=2, name='a b')  # the same name, right behind
    head = sym.FullyConnected(
        sym.Concat(again[0], again[1], parts[2], name='a b_c', dim=2), num_hidden=2, name='x:y'
    )
    audited = audit(head, {'my data:0': (2, 3, 8, 8)})
    shapes = {layer.operator + str(len(layer.output_shapes)): layer.output_shapes for layer in audited.layers}
    assert shapes['SliceChannel3'] == ((2, 1, 8, 8),) * 3
    assert shapes['SliceChannel2'] == ((2, 1, 4, 8),) * 2
    assert audited.total.parameters == 2 * 1 * 16 * 8 + 2


def test_batch_norm_that_shows_its_mean():
    symbol = sym.BatchNorm(sym.var('data'), output_mean_var=True, name='bn')
    (layer,) = audit(symbol, IMAGE).layers
    assert layer.output_shapes == ((2, 3, 8, 8), (3,), (3,))


@pytest.mark.parametrize(
    ('shapes', 'message'),
    [
        ({'date': (1, 3, 8, 8)}, "no input 'date'; did you mean 'data'"),
        ({'zzzzzzzz': (1, 3, 8, 8)}, "no input 'zzzzzzzz'; its inputs may be 'data'"),
        ({}, "leave 'data' without a shape"),
        ({'data': (1, 3, 0, 8)}, 'must be positive whole numbers'),
        ({'data': (3, 8)}, r'the shapes data \(3, 8\) do not fit the graph: Error in operator conv0'),
        ({'data': (1, 3, 8, 8), 'conv0_weight': (4, 5, 3, 3)}, 'Error in operator conv0'),
    ],
)
def test_wrong_shapes_are_one_sentence(shapes, message, capfd):
    with pytest.raises(ConfigError, match=message) as caught:
        audit(small_network(), shapes)
    assert '\n' not in str(caught.value)
    assert capfd.readouterr().out == ''


def test_the_audit_of_a_block():
    net = mx.gluon.nn.HybridSequential(prefix='net_')
    with net.name_scope():
        net.add(mx.gluon.nn.Conv2D(4, 3), mx.gluon.nn.BatchNorm(scale=False), mx.gluon.nn.Dense(5))
    net[0].weight.grad_req = 'null'
    total = audit_block(net, {'image': (2, 3, 8, 8)}).total
    assert total.fixed == 4 * 27 + 4
    assert total.trainable == 4 + 4 + 5 * 4 * 36 + 5
    assert total.auxiliary == 8


def test_the_audit_of_a_block_with_two_inputs_and_outputs():
    class Pair(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.dense = mx.gluon.nn.Dense(3)

        def hybrid_forward(self, F, x, y):
            return self.dense(x), self.dense(y)

    audited = audit_block(Pair(), {'x': (2, 4), 'y': (2, 4)})
    assert audited.total.parameters == 15
    assert [len(layer.shared) for layer in audited.layers] == [0, 2]


# each layer takes (body, a name) and keeps the shape (2, 4, 6, 6)
LAYERS = {
    'conv': lambda x, name: sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=4, name=name),
    'grouped': lambda x, name: sym.Convolution(
        x, kernel=(1, 1), num_group=2, num_filter=4, no_bias=True, name=name
    ),
    'deconv': lambda x, name: sym.Deconvolution(x, kernel=(3, 3), pad=(1, 1), num_filter=4, name=name),
    'bn': lambda x, name: sym.BatchNorm(x, name=name),
    'bn_free': lambda x, name: sym.BatchNorm(x, fix_gamma=False, axis=3, name=name),
    'prelu': lambda x, name: sym.LeakyReLU(x, act_type='prelu', name=name),
    'leaky': lambda x, name: sym.LeakyReLU(x, act_type='leaky', name=name),
    'layer_norm': lambda x, name: sym.LayerNorm(x, axis=1, name=name),
    'instance_norm': lambda x, name: sym.InstanceNorm(x, name=name),
    'fc': lambda x, name: sym.reshape(sym.FullyConnected(x, num_hidden=144, name=name), shape=(0, 4, 6, 6)),
    'fc_last': lambda x, name: sym.FullyConnected(x, num_hidden=6, flatten=False, name=name),
    'scale': lambda x, name: sym.broadcast_mul(x, sym.var(f'{name}_scale', shape=(1, 4, 1, 1)), name=name),
    'shared': lambda x, name: sym.Convolution(
        x, sym.var('shared_w'), kernel=(1, 1), num_filter=4, no_bias=True, name=name
    ),
    'split': lambda x, name: sym.Concat(*reversed(list(sym.SliceChannel(x, num_outputs=2))), name=name),
    'residual': lambda x, name: x + sym.Activation(x, act_type='relu', name=name),
}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=8))
def test_any_graph_adds_up_to_what_infer_shape_says(names):
    body = sym.var('data')
    for number, name in enumerate(names):
        body = LAYERS[name](body, f'{name}{number}')
    shapes = {'data': (2, 4, 6, 6)}
    audited = audit(body, shapes)
    assert (audited.total.parameters, audited.total.auxiliary) == expected_sums(body, shapes)
    counted = [p.name for layer in audited.layers for p in layer.parameters]
    assert len(counted) == len(set(counted))
    assert not audited.uncounted
    check = check_summary(body, shapes, audited)
    assert sum(item.difference for item in check.differences) == audited.total.parameters - check.total
    assert all('no rule' not in item.reason for item in check.differences)


@pytest.mark.parametrize(
    ('network', 'activation', 'parameters', 'auxiliary', 'flops'),
    [
        ('r18', 'relu', 24023616, 14720, 2609954816),
        ('r18', 'prelu', 24025600, 14720, 2609954816),
        ('d121', 'relu', 32639872, 86720, 2762489856),
        ('d121', 'prelu', 32639991, 86720, 2762489856),
    ],
)
def test_our_networks(network, activation, parameters, auxiliary, flops):
    symbol, shapes = get_symbol(resolve(network, net_act=activation)), {'data': (1, 3, 112, 112)}
    audited = audit(symbol, shapes)
    total = audited.total
    assert (total.parameters, total.auxiliary, total.flops) == (parameters, auxiliary, flops)
    assert (total.parameters, total.auxiliary) == expected_sums(symbol, shapes)
    assert total.fixed == 512
    assert not audited.uncounted
    check = check_summary(symbol, shapes, audited)
    # our heads flatten explicitly, so PReLU slopes are all that print_summary can miss
    assert all(item.operator == 'PReLU' and 'PReLU slopes' in item.reason for item in check.differences)
    assert sum(item.difference for item in check.differences) == parameters - check.total
