"""The L2 penalty: as a term of the loss, as a share of the weight decay, and layer by layer."""

from __future__ import annotations

import numpy as np
import pytest

from config import ConfigError, resolve
from recognition.optim.kernel_l2 import KernelL2, kernel_factors, with_penalty
from symbols import get_block, get_symbol

import mxnet as mx
from mxnet import autograd, gluon

L2, RATE = 0.01, 0.1
IMAGE = (33, 29, 1)
BATCH = 4


def small(**overrides):
    settings = {'net_multiplier': 0.25, 'num_classes': 5, 'image_shape': IMAGE, **overrides}
    return resolve('d2l_densenet', **settings)


def values_of(net):
    return {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()}


def is_statistic(name):
    return name.endswith(('_mean', '_var'))


@pytest.fixture
def start(make_network):
    """Return the values that every network of these tests starts from."""
    return values_of(make_network(small()))


@pytest.fixture
def step(start, make_images):
    """Return a function: take one step of SGD from `start`, and return the values after it."""
    images, labels = make_images(IMAGE, BATCH), mx.nd.array([0, 1, 2, 3])
    criterion = gluon.loss.SoftmaxCrossEntropyLoss()

    def take(cfg, wd, penalty=None):
        net = get_block(cfg)
        net.initialize()
        for name, parameter in net.collect_params().items():
            parameter.set_data(mx.nd.array(start[name]))
        sgd = gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': RATE, 'wd': wd})
        term = penalty(net) if penalty else None
        with autograd.record():
            loss = criterion(net(images), labels)
            if term is not None:
                loss = loss + term()
        loss.backward()
        sgd.step(BATCH)
        return values_of(net)

    return take


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        largest = np.abs(other[name]).max()
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-5 * largest, err_msg=name)


@pytest.mark.parametrize('wd', [0.0005, 0.3])
@pytest.mark.parametrize('factors', [{}, {'stage1_unit1_': 0.0, 'stage1_': 0.5, 'fc1_weight$': 0.05}])
def test_kernel_l2_takes_the_step_that_the_penalty_takes(step, wd, factors):
    items = [f'{pattern}={factor}' for pattern, factor in factors.items()]
    by_decay = step(small(kernel_l2=L2, kernel_l2_factors=items, wd=wd), wd)
    assert_same(by_decay, step(small(), 0.0, lambda net: KernelL2(net, L2, factors=factors)))


def test_the_penalty_moves_kernels_by_their_gradient_and_nothing_else(start, step):
    plain, penalised = step(small(), 0.0), step(small(), 0.0, lambda net: KernelL2(net, L2))
    kernels = [name for name in start if name.endswith('_weight')]
    assert len(kernels) == 1 + 16 + 3 + 1
    for name in start:
        moved = penalised[name] - plain[name]
        if name in kernels:
            expected = -RATE * 2 * (0 if name == 'fc1_weight' else L2) * start[name]
            np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-6, err_msg=name)
            assert np.abs(moved).max() > 1e-5 or name == 'fc1_weight'
        else:
            np.testing.assert_array_equal(penalised[name], plain[name], err_msg=name)


def test_layers_with_factors_of_their_own(start, step):
    factors = {'stage1_unit1_': 0.0, 'stage1_': 0.5, 'fc1_weight$': 0.05}
    plain = step(small(), 0.0)
    penalised = step(small(), 0.0, lambda net: KernelL2(net, L2, factors=factors))
    rows = [
        ('stage1_unit1_conv', 0),
        ('stage1_unit2_conv', 0.5),
        ('fc1', 0.05),
        ('stage2_unit1_conv', L2),
    ]
    for layer, factor in rows:
        name = f'{layer}_weight'
        moved = penalised[name] - plain[name]
        np.testing.assert_allclose(moved, -RATE * 2 * factor * start[name], rtol=1e-3, atol=1e-6)


def test_the_value_of_the_penalty(make_network):
    net = make_network(small())
    values = values_of(net)
    expected = sum((value.astype(np.float64) ** 2).sum() for value in values.values() if value.ndim == 4)
    penalty = KernelL2(net, L2)()
    assert penalty.shape == (1,)
    np.testing.assert_allclose(penalty.asscalar(), L2 * expected, rtol=1e-5)


def test_a_module_takes_the_same_step(start, step, make_images):
    symbol = mx.sym.SoftmaxOutput(get_symbol(small()), name='softmax')
    penalised = with_penalty(symbol, L2, BATCH, factors={'stage2_': 0.5})
    assert penalised.list_arguments() == symbol.list_arguments()
    assert penalised.list_outputs() == ['softmax_output', 'kernel_l2_output']
    module = mx.mod.Module(penalised)
    module.bind([('data', (BATCH, IMAGE[2], *IMAGE[:2]))], [('softmax_label', (BATCH,))])
    arrays = {name: mx.nd.array(value) for name, value in start.items()}
    module.init_params(
        arg_params={name: arrays[name] for name in arrays if not is_statistic(name)},
        aux_params={name: arrays[name] for name in arrays if is_statistic(name)},
    )
    module.init_optimizer(optimizer='sgd', optimizer_params={'learning_rate': RATE, 'wd': 0.0})
    module.forward_backward(mx.io.DataBatch([make_images(IMAGE, BATCH)], [mx.nd.array([0, 1, 2, 3])]))
    module.update()
    mx.nd.waitall()
    arguments, states = module.get_params()
    found = {name: value.asnumpy() for name, value in {**arguments, **states}.items()}
    assert_same(found, step(small(), 0.0, lambda net: KernelL2(net, L2, factors={'stage2_': 0.5})))


def test_a_dense_weight_is_known_in_a_symbol_also_where_it_is_normalised():
    x = mx.sym.Convolution(mx.sym.var('data'), num_filter=2, kernel=(1, 1), name='conv')
    weight = mx.sym.L2Normalization(mx.sym.var('fc7_weight'))
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), weight, num_hidden=3, no_bias=True, name='fc7')
    arguments = {'data': np.ones((1, 2, 1, 1)), 'conv_weight': np.full((2, 2, 1, 1), 3.0)}
    arguments |= {'conv_bias': np.ones(2), 'fc7_weight': np.ones((3, 2))}
    bound = with_penalty(x, L2, 1).bind(mx.cpu(), {name: mx.nd.array(v) for name, v in arguments.items()})
    assert bound.forward()[1].asscalar() == pytest.approx(L2 * 4 * 9)


def test_a_kernel_without_a_shape_is_refused():
    block = gluon.SymbolBlock(get_symbol(small()), mx.sym.var('data', dtype='float32'))
    with pytest.raises(ConfigError, match=r'^the shape of conv0_weight, .* is not known yet'):
        KernelL2(block, L2)


def test_only_kernels_are_penalised():
    names = ['a_weight', 'a_bias', 'b_gamma', 'b_beta', 'b_moving_mean', 'c_alpha', 'd_dw_weight']
    assert kernel_factors(names, L2) == {'a_weight': L2, 'd_dw_weight': L2}
    assert kernel_factors(names, 0.0, {'d_': 2.0}) == {'d_dw_weight': 2.0}
    assert kernel_factors(names, L2, dense=['a_weight']) == {'d_dw_weight': L2}
    assert kernel_factors(names, L2, {'a_': 2.0}, dense=['a_weight']) == {'a_weight': 2.0, 'd_dw_weight': L2}


@pytest.mark.parametrize(
    ('l2', 'factors', 'message'),
    [
        (-1.0, None, 'l2=-1.0 is not allowed: it must be 0 or more'),
        (0.1, {'a_': float('nan')}, 'a_=nan is not allowed'),
        (0.1, {'b_': 1.0}, "no kernel has a name that begins with 'b_'"),
        (0.1, {'a(': 1.0}, 'is not a regular expression'),
    ],
)
def test_mistakes_are_refused(l2, factors, message):
    with pytest.raises(ConfigError, match=message):
        kernel_factors(['a_weight', 'b_gamma'], l2, factors)
