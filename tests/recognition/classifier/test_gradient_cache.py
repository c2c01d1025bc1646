"""Triplets over all parts of a step and all devices: the step of the whole batch, and the right gradient of it."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from recognition.training.trainer import Trainer

import mxnet as mx

SIDE, PEOPLE, BATCH = 16, 4, 12
RATE = 0.1


def network(normed=False):
    x = (mx.sym.var('data') - 127.5) * 0.0078125
    x = mx.sym.Convolution(x, num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True, name='conv0')
    if normed:
        x = mx.sym.Dropout(mx.sym.BatchNorm(x, fix_gamma=False, name='bn0'), p=0.4)
    else:
        x = mx.sym.Activation(x, act_type='relu', name='relu0')
    return mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=8, name='fc1')


def trainer(loss='triplet', *, normed=False, devices=1, **settings):
    shape = {'emb_size': 8, 'num_classes': PEOPLE, 'image_shape': (SIDE, SIDE, 3)}
    cfg = resolve('r18', 'folder', loss, **{**shape, 'mom': 0.0, 'wd': 0.0, **settings})
    return Trainer(network(normed), cfg, lambda step: RATE, [mx.cpu(device) for device in range(devices)])


def batch(seed=0):
    draw = np.random.RandomState(seed)
    images = draw.randint(0, 256, (BATCH, 3, SIDE, SIDE)).astype(np.uint8)
    return images, draw.permutation(np.arange(BATCH) % PEOPLE).astype(np.float32)


def values(of):
    return {key: value for key, value in of.arrays().items() if key.startswith('param:')}


@pytest.mark.parametrize(
    ('accumulate', 'devices', 'recompute'), [(3, 1, False), (1, 2, False), (3, 2, False), (3, 2, True)]
)
@pytest.mark.parametrize('loss', ['triplet', 'atriplet'])
def test_a_step_in_parts_and_on_devices_is_the_step_of_the_whole_batch(loss, accumulate, devices, recompute):
    whole = trainer(loss)
    parts = trainer(loss, accumulate=accumulate, devices=devices, recompute=recompute)
    for seed in range(3):
        one, other = (each.step(*batch(seed)) for each in (whole, parts))
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(one.predictions, other.predictions)
        assert one.norm == pytest.approx(other.norm, rel=1e-5)
    assert (one.losses > 0).all()  # each part has four samples, of which most have no partner there
    for key, value in values(whole).items():
        np.testing.assert_allclose(value, values(parts)[key], rtol=1e-5, atol=1e-6, err_msg=key)


def loss_at(weights):
    """Return the mean loss of the first step from these weights, with the dropout of that step."""
    runner = trainer(normed=True, accumulate=3)
    for name, value in weights.items():
        runner.parameters[name[len('param:') :]].set_data(mx.nd.array(value))
    return float(runner.step(*batch()).losses.astype(np.float64).mean())


def test_the_gradient_is_a_finite_difference_with_batch_norm_and_dropout():
    runner = trainer(normed=True, accumulate=3)
    before = values(runner)
    norm = runner.step(*batch()).norm
    gradient = {
        key: (before[key] - value) / RATE for key, value in values(runner).items() if 'moving' not in key
    }
    assert norm == pytest.approx(np.sqrt(sum(np.square(each).sum() for each in gradient.values())), rel=1e-3)
    change = 2e-3
    up, down = (
        loss_at({key: before[key] + way * change * each / norm for key, each in gradient.items()})
        for way in (1, -1)
    )
    assert (up - down) / (2 * change) == pytest.approx(norm, rel=0.01)


def test_the_first_pass_leaves_the_moving_statistics_alone():
    bag, other = trainer(normed=True, accumulate=3), trainer('cosface', normed=True, accumulate=3)
    for runner in (bag, other):
        runner.step(*batch())
    for name in ('bn0_moving_mean', 'bn0_moving_var'):
        one, two = (values(runner)[f'param:{name}'] for runner in (bag, other))
        np.testing.assert_allclose(one, two, rtol=1e-6)
        assert np.abs(one - (name == 'bn0_moving_var')).max() > 1e-3


def test_a_step_follows_from_the_seed():
    one, other = (trainer(normed=True, accumulate=2, devices=2) for _ in range(2))
    for seed in range(2):
        np.testing.assert_array_equal(one.step(*batch(seed)).losses, other.step(*batch(seed)).losses)
