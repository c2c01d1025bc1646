"""The optimizers against their formulas, and their memory saved and restored."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError
from recognition.distributed.kvstore import KVStoreGroup
from recognition.optim.optimizer import OPTIMIZERS, Updates
from recognition.training.trainer import Trainer
from symbols import get_symbol

import mxnet as mx
from mxnet import gluon

WD, RATES = 0.1, (0.5, 0.25, 0.25, 0.1)
STEPS = (0.01, 0.005)


def parameter(name, value, **options):
    each = gluon.Parameter(name, shape=value.shape, **options)
    each.initialize(init=mx.init.Zero(), ctx=[mx.cpu(0), mx.cpu(1)])
    each.set_data(mx.nd.array(value))
    return each


def parameters():
    draw = np.random.RandomState(0)
    return {
        'a_weight': parameter('a_weight', draw.randn(3, 4).astype('float32')),
        'b_bias': parameter('b_bias', draw.randn(5).astype('float32'), wd_mult=0.0, lr_mult=2.0),
        'fixed': parameter('fixed', np.ones(2, 'float32'), grad_req='null'),
    }


def make(name, held):
    cfg = resolve('r18', 'folder', 'cosface', optimizer=name, wd=WD, adam_beta1=0.8, adam_beta2=0.9)
    return Updates(cfg, held, [mx.cpu(0), mx.cpu(1)])


def give_gradients(held, step):
    draw = np.random.RandomState(100 + step)
    for each in held.values():
        if each.grad_req != 'null':
            gradient = draw.randn(*each.shape).astype('float32')
            for place in each.list_grad():
                place[:] = mx.nd.array(gradient)


def formula(name, w, gradients, *, wd, lr_mult):
    """The papers' updates in float64."""
    w, m, v = w.astype('float64'), 0.0, 0.0
    for count, (rate, gradient) in enumerate(zip(RATES, gradients), start=1):
        rate, g = rate * lr_mult, 0.5 * gradient.astype('float64')  # the scale that is applied
        if name == 'adamw':
            m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
            step = (m / (1 - 0.8**count)) / (np.sqrt(v / (1 - 0.9**count)) + 1e-8)
            w = w - rate * (step + wd * w)
            continue
        g = g + wd * w
        if name == 'nag':
            m = 0.9 * m + g
            w = w - rate * (g + 0.9 * m)
        else:
            m = 0.9 * m + rate * g
            w = w - m
    return w


@pytest.mark.parametrize('name', sorted(OPTIMIZERS))
def test_updates_are_those_of_the_formula(name):
    held = parameters()
    start = {key: each.data(mx.cpu(0)).asnumpy() for key, each in held.items()}
    updates, gradients = make(name, held), {key: [] for key in held}
    for step, rate in enumerate(RATES):
        give_gradients(held, step)
        for key, each in held.items():
            if each.grad_req != 'null':
                gradients[key].append(each.list_grad()[0].asnumpy())
        updates.apply(rate, 0.5)
    assert updates.count == len(RATES)
    for key, wd, lr_mult in (('a_weight', WD, 1.0), ('b_bias', 0.0, 2.0)):
        expected = formula(name, start[key], gradients[key], wd=wd, lr_mult=lr_mult)
        for copy in held[key].list_data():
            np.testing.assert_allclose(copy.asnumpy(), expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(held['fixed'].data(mx.cpu(0)).asnumpy(), start['fixed'])


@pytest.mark.parametrize('name', sorted(OPTIMIZERS))
def test_what_is_saved_and_restored_goes_on_to_the_last_bit(name):
    one, other = parameters(), parameters()
    first, second = make(name, one), make(name, other)
    for step, rate in enumerate(RATES):
        give_gradients(one, step)
        first.apply(rate, 1.0)
        if step == 1:
            for key, each in one.items():
                other[key].set_data(each.data(mx.cpu(0)))
            second.restore(first.count, first.arrays(), source='a state')
        if step >= 2:
            give_gradients(other, step)
            second.apply(rate, 1.0)
    for key, each in one.items():
        for a, b in zip(each.list_data(), other[key].list_data()):
            np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())


def test_the_memory_of_another_optimizer_is_refused():
    held = parameters()
    updates = make('adamw', held)
    give_gradients(held, 0)
    updates.apply(0.1, 1.0)
    with pytest.raises(
        CheckpointError, match="a state does not fit this run's optimizer sgd: it has also slot1:"
    ):
        make('sgd', parameters()).restore(1, updates.arrays(), source='a state')


@pytest.mark.parametrize('network', ['r18', 'd121'])
def test_two_steps_are_those_of_mxnets_module_with_insightfaces_classifier(network):
    """Decay on names that end in weight and gamma; fc7_lr_mult, fc7_wd_mult; the bias twice as fast and not decayed."""
    settings = {
        'net_multiplier': 0.0625,
        'emb_size': 8,
        'image_shape': (32, 32, 3),
        'num_classes': 5,
        'wd': WD,
    }
    factors = {'fc7_lr_mult': 3.0, 'fc7_wd_mult': 0.5}
    cfg = resolve(network, None, 'softmax', net_output='fc_bn', per_batch_size=6, **settings, **factors)
    symbol = get_symbol(cfg)
    trainer = Trainer(symbol, cfg, lambda step: STEPS[step], [mx.cpu()], KVStoreGroup('device', [mx.cpu()]))
    for name, each in trainer.parameters.items():
        if name.endswith(('beta', 'bias')):
            each.set_data(mx.nd.ones(each.shape))  # what is 0 would not show its decay
    trainer.begin()

    weight = mx.sym.var('fc7_weight', lr_mult=3.0, wd_mult=0.5)
    bias = mx.sym.var('fc7_bias', lr_mult=2.0, wd_mult=0.0)
    fc7 = mx.sym.FullyConnected(symbol, weight, bias, num_hidden=5, name='fc7')
    module = mx.mod.Module(mx.sym.SoftmaxOutput(fc7, name='softmax'))
    module.bind([('data', (6, 3, 32, 32))], [('softmax_label', (6,))])
    held = {name: each.data().copy() for name, each in trainer.parameters.items()}
    auxiliary = set(symbol.list_auxiliary_states())
    module.init_params(
        arg_params={name: each for name, each in held.items() if name not in auxiliary},
        aux_params={name: each for name, each in held.items() if name in auxiliary},
    )
    options = {'momentum': cfg.mom, 'wd': WD, 'rescale_grad': 1 / 6, 'learning_rate': STEPS[0]}
    module.init_optimizer(optimizer='sgd', optimizer_params=options)
    draw = np.random.RandomState(3)
    for rate in STEPS:
        images, labels = draw.randint(0, 256, (6, 3, 32, 32)).astype(np.uint8), draw.randint(0, 5, 6)
        trainer.step(images, labels)
        module._optimizer.set_learning_rate(rate)
        module.forward_backward(
            mx.io.DataBatch([mx.nd.array(images.astype('float32'))], [mx.nd.array(labels)])
        )
        module.update()
    mx.nd.waitall()
    args, auxs = module.get_params()
    for name, each in trainer.parameters.items():
        if name != 'fc1_gamma':  # fix_gamma: it is 1, and Module lets it decay unseen
            theirs = {**args, **auxs}[name].asnumpy()
            np.testing.assert_allclose(each.data().asnumpy(), theirs, rtol=2e-4, atol=2e-5, err_msg=name)


def test_adamw_s_epsilon_counts_as_in_algorithm_2():
    """The first step of a gradient g is g / (|g| + epsilon): one half where g is epsilon (Kingma and Ba, 1e-8)."""
    held = {'w': parameter('w', np.zeros(1, 'float32'))}
    updates = make('adamw', held)
    for place in held['w'].list_grad():
        place[:] = 1e-8
    updates.apply(1.0, 1.0)
    assert held['w'].data(mx.cpu(0)).asscalar() == pytest.approx(-0.5, rel=1e-5)
