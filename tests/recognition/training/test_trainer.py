"""One step of training: parts of a batch, a bound on the gradient, and steps that are left out."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from config.errors import FaceSymbolsError
from recognition.training.trainer import Trainer

import mxnet as mx

SIDE, PEOPLE = 16, 4
DEFAULTS = {'emb_size': 8, 'num_classes': PEOPLE, 'image_shape': (SIDE, SIDE, 3), 'loss_s': 8.0}


def plain_network(width=8):
    """A network without batch norm, whose gradient is the mean of its samples'."""
    x = (mx.sym.var('data') - 127.5) * 0.0078125
    x = mx.sym.Convolution(x, num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True, name='conv0')
    x = mx.sym.Activation(x, act_type='relu', name='relu0')
    return mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=width, name='fc1')


def normed_network():
    x = mx.sym.Convolution(
        mx.sym.var('data'), num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True, name='conv0'
    )
    x = mx.sym.BatchNorm(x, fix_gamma=False, name='bn0')
    return mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=8, name='fc1')


def trainer(symbol=None, *, contexts=None, rate=0.1, **settings):
    cfg = resolve('r18', 'folder', 'cosface', **{**DEFAULTS, **settings})
    return Trainer(
        plain_network() if symbol is None else symbol, cfg, lambda step: rate, contexts or [mx.cpu()]
    )


def batch(size=12, seed=0):
    draw = np.random.RandomState(seed)
    return draw.randint(0, 256, (size, 3, SIDE, SIDE)).astype(np.uint8), draw.randint(0, PEOPLE, size).astype(
        'float32'
    )


def poison(runner, value):
    """Fill the last weight (a relu would swallow NaN) with a value and return what it was."""
    weight = runner.parameters['fc1_weight']
    before = weight.data(mx.cpu(0)).copy()
    weight.set_data(mx.nd.full(before.shape, value))
    return before


def values(of):
    return {key: value for key, value in of.arrays().items() if key.startswith('param:')}


def close(one, other, **tolerance):
    assert sorted(one) == sorted(other)
    for key, value in one.items():
        np.testing.assert_allclose(value, other[key], err_msg=key, **tolerance)


@pytest.mark.parametrize(
    'settings', [{'accumulate': 3}, {'contexts': [mx.cpu(0), mx.cpu(1)]}, {'recompute': True}]
)
def test_a_step_in_parts_or_on_devices_or_recomputed_is_the_step_of_the_whole_batch(settings):
    whole, parts = trainer(), trainer(**settings)
    for seed in range(3):
        one, other = (each.step(*batch(seed=seed)) for each in (whole, parts))
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-5)
        np.testing.assert_array_equal(one.predictions, other.predictions)
        assert one.norm == pytest.approx(other.norm, rel=1e-5)
    close(values(whole), values(parts), rtol=1e-5, atol=1e-6)


def test_a_long_gradient_is_scaled_down():
    free, bound = trainer(mom=0.0, wd=0.0), trainer(mom=0.0, wd=0.0, clip_norm=0.01)
    before = values(free)
    norms = [each.step(*batch()).norm for each in (free, bound)]
    assert norms[0] == norms[1] > 0.01
    after, bounded = values(free), values(bound)
    for key, start in before.items():
        expected = (after[key] - start) * 0.01 / norms[0]
        np.testing.assert_allclose(bounded[key] - start, expected, rtol=1e-3, atol=1e-7, err_msg=key)


@pytest.mark.parametrize('where', ['weight', 'gradient'])
def test_a_step_that_is_not_finite_leaves_all_as_it_was(where):
    runner = trainer(normed_network(), ema=0.9)
    runner.step(*batch())
    if where == 'weight':  # the loss is NaN
        poison(runner, np.nan)
    else:  # the loss is finite, and its gradient is not
        runner.scale.on, runner.scale.value = True, 1e38
    before = runner.arrays()
    result = runner.step(*batch(seed=1))
    after = runner.arrays()
    assert result.skipped.startswith('the loss became nan' if where == 'weight' else 'the gradient became ')
    assert (runner.steps, runner.updates.count) == (2, 1)
    assert [
        key for key, value in before.items() if not np.array_equal(value, after[key], equal_nan=True)
    ] == []


def test_the_steps_after_one_that_was_left_out_are_as_if_it_had_not_been():
    one, other = trainer(normed_network()), trainer(normed_network())
    one.step(*batch(seed=0))
    other.step(*batch(seed=0))
    kept = poison(other, np.inf)
    assert other.step(*batch(seed=1)).skipped
    other.parameters['fc1_weight'].set_data(kept)
    one.steps += 1  # the seed of a step follows from its number
    for seed in (2, 3):
        one.step(*batch(seed=seed))
        other.step(*batch(seed=seed))
    close(values(one), values(other), rtol=0, atol=0)
    assert (other.guard.skipped, other.guard.in_a_row) == (1, 0)


def test_too_many_such_steps_in_a_row_are_an_error():
    runner = trainer(max_skipped=1)
    poison(runner, np.inf)
    assert runner.step(*batch()).skipped
    with pytest.raises(FaceSymbolsError, match='the last of 2 such steps in a row'):
        runner.step(*batch())


def test_an_overflow_halves_the_loss_scale_and_counts_as_no_fault():
    runner = trainer()
    runner.scale.on, runner.scale.value = True, 2.0**120
    skipped = 0
    while runner.step(*batch()).skipped:
        skipped += 1
    assert 0 < skipped < 80  # the squared length of the gradient overflows long before the gradient
    assert runner.guard.in_a_row == runner.guard.skipped == 0
    assert runner.scale.value == 2.0 ** (120 - skipped)


def test_the_average_is_what_is_verified_and_saved():
    runner = trainer(ema=0.9)
    for seed in range(4):
        runner.step(*batch(seed=seed))
    args, _ = runner.network_arrays()
    assert not np.allclose(args['conv0_weight'].asnumpy(), values(runner)['param:conv0_weight'])
    images = mx.nd.array(batch()[0])
    executor = runner.symbol.bind(mx.cpu(), {**args, 'data': images}, grad_req='null')
    expected = executor.forward(is_train=False)[0].asnumpy()
    np.testing.assert_allclose(runner.embedding_network()(images).asnumpy(), expected, rtol=1e-5)


def test_devices_are_settled_on_the_mean_of_their_statistics():
    runner = trainer(normed_network(), contexts=[mx.cpu(0), mx.cpu(1)])
    runner.step(*batch())
    mx.nd.waitall()
    one, other = (copy.asnumpy() for copy in runner.parameters['bn0_moving_mean'].list_data())
    assert not np.allclose(one, other)
    runner.settle()
    for copy in runner.parameters['bn0_moving_mean'].list_data():
        np.testing.assert_allclose(copy.asnumpy(), (one + other) / 2, rtol=1e-6)


@pytest.mark.parametrize('reads', ['_copy_statistics', 'settle', 'arrays'])
def test_arrays_are_read_when_all_that_writes_them_is_done(reads, monkeypatch):
    """A batch norm's moving statistics are written behind backward's back, and a read does not wait for that."""
    runner, done = trainer(normed_network()), []
    runner.step(*batch())
    monkeypatch.setattr(mx.nd, 'waitall', lambda: done.append('waited'))
    for way in ('data', 'list_data'):
        read = getattr(mx.gluon.Parameter, way)
        monkeypatch.setattr(
            mx.gluon.Parameter, way, lambda *given, read=read: (done.append('read'), read(*given))[1]
        )
    getattr(runner, reads)()
    assert done[0] == 'waited'
    assert 'read' in done


def test_statistics_are_put_back_when_all_that_writes_them_is_done(monkeypatch):
    runner, done = trainer(normed_network()), []
    before, put = runner._copy_statistics(), mx.nd.NDArray.__setitem__
    monkeypatch.setattr(mx.nd, 'waitall', lambda: done.append('waited'))
    monkeypatch.setattr(mx.nd.NDArray, '__setitem__', lambda *given: (done.append('written'), put(*given))[1])
    runner._restore_statistics(before)
    assert done == ['waited', 'written', 'written']
