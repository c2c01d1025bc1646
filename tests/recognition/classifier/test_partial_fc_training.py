"""Training with the classifier in parts against training with the whole one, and its state."""

from __future__ import annotations

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.classifier import shard as shards
from recognition.training.trainer import Trainer
from tests.helpers.sharded import BATCH, IDENTITIES, WIDTH, close, devices, settings
from tests.recognition.training.test_trainer import SIDE, plain_network

import mxnet as mx

pytestmark = pytest.mark.usefixtures('small_chunks')


def trainer(number=1, **more):
    cfg = settings(**more)
    return Trainer(plain_network(WIDTH), cfg, lambda step: 0.1, devices(number))


def faces(seed):
    draw = np.random.RandomState(seed)
    images = draw.randint(0, 256, (BATCH, 3, SIDE, SIDE)).astype(np.uint8)
    return images, draw.randint(0, IDENTITIES, BATCH).astype(np.float32)


def values_of(runner):
    return {key: np.asarray(value) for key, value in runner.arrays().items()}


def start_as(runner, other):
    runner.restore(
        {**other.counts(), 'updates': 0},
        {k: v for k, v in other.arrays().items() if 'slot' not in k},
        source='x',
    )


@pytest.mark.parametrize('more', [{}, {'accumulate': 3}, {'optimizer': 'adamw'}, {'loss_name': 'softmax'}])
@pytest.mark.parametrize('number', [1, 3])
def test_training_in_shards_is_training_with_the_whole(number, more):
    one = trainer(fc7_sharded=False, **more)
    other = trainer(number, **(more if number == 1 else {**more, 'accumulate': 1}))
    start_as(other, one)
    for seed in range(3):
        results = [each.step(*faces(seed)) for each in (one, other)]
        close(*(result.losses for result in results))
        np.testing.assert_array_equal(*(result.predictions for result in results))
        assert results[0].norm == pytest.approx(results[1].norm, rel=1e-5)
    ours, theirs = values_of(other), values_of(one)
    assert sorted(ours) == sorted(theirs)
    for key, value in theirs.items():
        # Adam divides by the gradient's own size, so that the last digit of a small one counts
        close(ours[key], value, 1e-5 if 'optimizer' not in more else 1e-3)


def test_first_values_and_steps_do_not_depend_on_the_number_of_shards(monkeypatch):
    monkeypatch.setattr(shards, 'DRAWN', 7)
    one, other = trainer(1), trainer(4)
    first = [np.asarray(each.classifier.arrays()['param:fc7_weight']) for each in (one, other)]
    np.testing.assert_array_equal(*first)
    assert 0.008 < first[0].std() < 0.012
    assert len(np.unique(first[0])) == first[0].size
    for each in (one, other):
        each.step(*faces(0))
    for key, value in values_of(one).items():
        close(values_of(other)[key], value)


def test_a_state_goes_on_in_other_shards_and_another_classifier_is_refused():
    runner = trainer(2, sample_rate=0.5)
    for seed in range(2):
        runner.step(*faces(seed))
    arrays = values_of(runner)
    same, wider = trainer(3, sample_rate=0.5), trainer(2, num_classes=IDENTITIES + 1)
    same.restore(runner.counts(), arrays, source='the state')
    for key, value in values_of(same).items():
        np.testing.assert_array_equal(value, arrays[key], err_msg=key)
    with pytest.raises(
        CheckpointError, match=r'the state does not fit .*fc7_weight \(23, 6\) instead of \(24, 6\)'
    ):
        wider.restore(runner.counts(), arrays, source='the state')


def test_the_state_of_a_whole_classifier_goes_on_in_shards_and_back():
    one, parts, back = trainer(fc7_sharded=False), trainer(3), trainer(fc7_sharded=False)
    one.step(*faces(0))
    parts.restore(one.counts(), one.arrays(), source='the whole')
    for each in (one, parts):
        each.step(*faces(1))
    back.restore(parts.counts(), parts.arrays(), source='the shards')
    for each in (one, back):
        each.step(*faces(2))
    for key, value in values_of(one).items():
        close(values_of(back)[key], value)


def test_a_step_that_is_not_finite_changes_no_row():
    runner = trainer(2, sample_rate=0.5)
    runner.step(*faces(0))
    weight = runner.parameters['fc1_weight']
    kept = weight.data(mx.cpu(0)).copy()
    weight.set_data(mx.nd.full(kept.shape, np.nan))
    before = {key: np.asarray(each) for key, each in runner.classifier.arrays().items()}
    assert runner.step(*faces(1)).skipped.startswith('the loss became nan')
    for key, each in runner.classifier.arrays().items():
        np.testing.assert_array_equal(np.asarray(each), before[key], err_msg=key)
    weight.set_data(kept)
    assert not runner.step(*faces(2)).skipped
