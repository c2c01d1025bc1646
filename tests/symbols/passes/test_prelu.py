"""PReLU as one operator, and in the form that trains: the same values, and gradients that are right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from config import resolve
from symbols import get_symbol
from symbols.activations import PReLU
from symbols.ir.rewriter import describe
from symbols.passes.prelu import as_operators, find_prelus, for_training

import mxnet as mx

ROOT = Path(__file__).resolve().parents[3]
CHANNELS, SHAPE = 4, (3, 4, 6, 5)
SLOPES = {'shared': [0.25], 'below 0 and above 1': [-0.5, 0.0, 0.7, 1.6]}


def ours(x, slopes):
    block = PReLU('act', slopes, parameter='gamma')
    return block(x)


def theirs(x, slopes):
    return mx.sym.LeakyReLU(x, mx.sym.var('act_gamma', shape=(slopes,)), act_type='prelu', name='act')


def conv(x, name):
    kernel = mx.sym.var(f'{name}_weight', shape=(CHANNELS, CHANNELS, 1, 1))
    return mx.sym.Convolution(x, kernel, num_filter=CHANNELS, kernel=(1, 1), no_bias=True, name=name)


NEIGHBOURS = {'none': lambda x, name: x, 'elementwise': lambda x, name: x * 1.0, 'convolution': conv}


def network(form, slopes, neighbours):
    """Return a PReLU between two layers that leave what they are given as it is, in the form that trains."""
    around = NEIGHBOURS[neighbours]
    symbol = around(form(around(mx.sym.var('data'), 'before'), slopes), 'after')
    return for_training(symbol, {'data': SHAPE})


def bound(symbol, constants, values, weight):
    """Return output and gradients by name from an executor."""
    requests = {name: 'null' if name in constants else 'write' for name in symbol.list_arguments()}
    executor = symbol.simple_bind(mx.cpu(), data=SHAPE, grad_req=requests)
    for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
        array[:] = values[name]
    (output,) = executor.forward(is_train=True)
    executor.backward(mx.nd.array(weight))
    return output, executor.grad_dict


def hybridised(symbol, constants, values, weight):
    """Return output and gradients by name from a block."""
    block = mx.gluon.SymbolBlock(symbol, mx.sym.var('data', dtype='float32'))
    trained = {}
    for name, parameter in block.collect_params().items():
        parameter.shape, parameter.grad_req = values[name].shape, 'null' if name in constants else 'write'
        parameter.initialize()
        parameter.set_data(mx.nd.array(values[name]))
        if name not in constants:
            trained[name] = parameter
    block.hybridize()
    x = mx.nd.array(values['data'])
    x.attach_grad()
    with mx.autograd.record():
        output = block(x)
    output.backward(mx.nd.array(weight))
    mx.nd.waitall()
    for name, value in constants.items():
        np.testing.assert_array_equal(block.collect_params()[name].data().asnumpy(), value)
    return output, {'data': x.grad, **{name: each.grad() for name, each in trained.items()}}


MODES = {'bound': bound, 'hybridised': hybridised}


def run(form, slopes, neighbours, mode):
    """Return (output, gradients of sum(output * weight) by name, data, weight)."""
    symbol, constants = network(form, len(slopes), neighbours)
    draw = np.random.RandomState(0)
    data, weight = draw.randn(*SHAPE).astype(np.float32), draw.randn(*SHAPE).astype(np.float32)
    eye = np.eye(CHANNELS, dtype=np.float32)[:, :, None, None]
    layers = {'act_gamma': np.array(slopes, np.float32), 'before_weight': eye, 'after_weight': eye}
    output, found = MODES[mode](symbol, constants, {**constants, **layers, 'data': data}, weight)
    return output.asnumpy(), {n: g.asnumpy() for n, g in found.items() if g is not None}, data, weight


def expected(slopes, data, weight):
    """Return the output and the gradients by the derivative, which is constant on each side of 0."""
    a = np.broadcast_to(np.array(slopes, np.float64), CHANNELS).reshape(1, -1, 1, 1)
    own = (weight * np.minimum(data, 0.0)).sum(axis=(0, 2, 3), dtype=np.float64)
    return (
        np.where(data > 0, data, a * data),
        weight * np.where(data > 0, 1.0, a),
        own if len(slopes) > 1 else own.sum(keepdims=True),
    )


@pytest.mark.parametrize('neighbours', NEIGHBOURS)
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('slopes', SLOPES.values(), ids=SLOPES)
@pytest.mark.parametrize('form', [ours, theirs])
def test_values_and_gradients_of_the_form_that_trains(form, slopes, mode, neighbours):
    output, found, data, weight = run(form, slopes, neighbours, mode)
    value, of_data, of_slopes = expected(slopes, data, weight)
    np.testing.assert_allclose(output, value, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found['data'], of_data, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found['act_gamma'], of_slopes, rtol=1e-5, atol=1e-4)


def test_gradients_of_the_form_that_trains_without_onednn():
    environment = {**os.environ, 'MXNET_MKLDNN_ENABLED': '0', 'PYTEST_ADDOPTS': ''}
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', __file__]
    command += ['-k', 'test_values_and_gradients_of_the_form_that_trains']
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert '24 passed' in done.stdout


def test_slopes_that_are_not_a_prelu_s_stay():
    x, other = mx.sym.var('data'), mx.sym.var('other')
    slopes = mx.sym.broadcast_like(mx.sym.reshape(mx.sym.var('a'), shape=(1, -1, 1, 1)), x)
    relu = mx.sym.Activation(x, act_type='relu')
    negative = mx.sym._internal._minimum_scalar
    unlike = [
        relu + negative(other, scalar=0.0) * slopes,
        relu + negative(x, scalar=0.1) * slopes,
        mx.sym.Activation(x, act_type='tanh') + negative(x, scalar=0.0) * slopes,
        relu + negative(x, scalar=0.0) * other,
        mx.sym.LeakyReLU(x, act_type='leaky'),
    ]
    for symbol in unlike:
        assert find_prelus(describe(symbol)) == {}
    alike = mx.sym.elemwise_add(relu, negative(x, scalar=0.0) * slopes)
    assert len(find_prelus(describe(alike))) == 1


@pytest.mark.parametrize('preset', ['r18', 'd121', 'y1', 'mnas025', 'vargfacenet'])
def test_a_network_with_operators_computes_the_same_bits(preset):
    symbol = get_symbol(
        resolve(preset, net_multiplier=0.25) if preset in ('r18', 'd121') else resolve(preset)
    )
    operators = as_operators(symbol)
    nodes, before = describe(operators)['nodes'], describe(symbol)['nodes']
    found = find_prelus({'nodes': nodes})
    assert [each.name for each in found.values()] == [
        each.name for each in find_prelus({'nodes': before}).values()
    ]
    assert found
    assert not {'_minimum_scalar', 'broadcast_like'} & {node['op'] for node in nodes}
    assert operators.list_arguments() == symbol.list_arguments()
    assert operators.list_auxiliary_states() == symbol.list_auxiliary_states()
    assert operators.list_outputs() == symbol.list_outputs()
    one, other = (outputs(each) for each in (symbol, operators))
    np.testing.assert_array_equal(one, other)


def outputs(symbol):
    executor = symbol.simple_bind(mx.cpu(), data=(1, 3, 112, 112), grad_req='null')
    draw = np.random.RandomState(0)
    for name, array in executor.arg_dict.items():
        if name != 'data':
            array[:] = draw.randn(*array.shape) * 0.1 + name.endswith('gamma')
    executor.arg_dict['data'][:] = draw.randint(0, 256, (1, 3, 112, 112))
    for name, array in executor.aux_dict.items():
        array[:] = 1.0 if name.endswith('var') else 0.0
    return executor.forward(is_train=False)[0].asnumpy()
