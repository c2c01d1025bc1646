"""The teacher's part of the objective: Keras's numbers, and the same step however the batch is computed."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from config import resolve
from recognition.classifier.base import WholeClassifier
from recognition.classifier.distillation import angular, distilled, softened
from recognition.training.trainer import Trainer
from tests.recognition.training.test_trainer import DEFAULTS, batch, close, plain_network, values

import mxnet as mx
from mxnet import autograd

WIDTH = DEFAULTS['emb_size']


@pytest.mark.parametrize('temperature', [None, 1.0, 4.0])
def test_loss_and_gradient_are_keras_s(reference, temperature):
    held = json.loads((reference / 'keras' / 'distillation.json').read_text('utf-8'))
    rule = partial(softened, temperature=temperature) if temperature else angular
    wanted = held['softened'][str(temperature)] if temperature else held['angular']
    student, teacher = (mx.nd.array(held[name]) for name in ('student', 'teacher'))
    student.attach_grad()
    with autograd.record():
        loss = rule(student, teacher)
    loss.backward()
    np.testing.assert_allclose(loss.asnumpy(), wanted['loss'], rtol=1e-4)
    np.testing.assert_allclose(student.grad.asnumpy(), wanted['gradient'], rtol=1e-4, atol=1e-6)


def teacher(step):
    return np.random.RandomState(step + 50).randn(12, WIDTH).astype(np.float32)


def trainer(says=teacher, *, contexts=None, loss='cosface', rate=0.1, **settings):
    cfg = resolve('r18', 'folder', loss, **{**DEFAULTS, 'distill': 0.4, **settings})
    return Trainer(plain_network(), cfg, lambda step: rate, contexts or [mx.cpu()], teacher=says)


def run(runner, steps=3):
    return [runner.step(*batch(seed=seed)) for seed in range(steps)]


@pytest.mark.parametrize('loss', ['cosface', 'triplet'])
@pytest.mark.parametrize(
    'settings', [{'accumulate': 3}, {'contexts': [mx.cpu(0), mx.cpu(1)]}, {'recompute': True}]
)
def test_parts_devices_and_recomputing_make_no_difference(settings, loss):
    whole, parts = trainer(loss=loss), trainer(loss=loss, **settings)
    for one, other in zip(run(whole), run(parts)):
        np.testing.assert_allclose(other.losses, one.losses, rtol=1e-4, atol=1e-6)
        assert other.norm == pytest.approx(one.norm, rel=1e-4)
    close(values(whole), values(parts), rtol=1e-4, atol=1e-6)


def test_nor_does_a_classifier_in_parts():
    whole, sharded = trainer(rate=0.01), trainer(rate=0.01, fc7_sharded=True, contexts=[mx.cpu(0), mx.cpu(1)])
    sharded.classifier.load(whole.classifier.values())
    for one, other in zip(run(whole), run(sharded)):
        np.testing.assert_allclose(other.losses, one.losses, rtol=1e-4)
    for name, value in whole.classifier.values().items():
        np.testing.assert_allclose(sharded.classifier.values()[name], value, rtol=1e-4, atol=1e-5)
    weights = [each.parameters['conv0_weight'].data().asnumpy() for each in (whole, sharded)]
    np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-6)


def test_the_two_losses_are_mixed_by_distill():
    own, mixed, alone = (trainer(distill=share) for share in (0.0, 0.4, 1.0))
    one, both, other = (run(each, 1)[0].losses for each in (own, mixed, alone))
    np.testing.assert_allclose(both, 0.6 * one + 0.4 * other, rtol=1e-5)
    without = trainer(None)
    np.testing.assert_allclose(run(without, 1)[0].losses, one, rtol=1e-6)
    close(values(without), values(own), rtol=1e-6, atol=1e-8)


def test_a_student_that_only_distils_comes_to_agree_with_its_teacher():
    fixed = teacher(0)
    runner = trainer(lambda step: fixed, distill=1.0, rate=0.5, wd=0.0)
    losses = [runner.step(*batch()).losses.mean() for _ in range(60)]
    assert losses[0] > 0.5
    assert losses[-1] < 0.05 * losses[0]


def test_class_scores_are_softened():
    cfg = resolve('r18', net_output='classifier', num_classes=3, distill=1.0, distill_temperature=2.0)
    scores = np.random.RandomState(0).randn(2, 4, 3).astype(np.float32)

    class Own(WholeClassifier):
        def __init__(self):
            self.parameters, self.states = {}, ()

        def objective(self, embeddings, labels, scale):
            losses = [each.sum(axis=1) for each in embeddings]
            return [loss * scale for loss in losses], None, [(loss, None) for loss in losses]

    both = distilled(Own(), cfg, lambda step: scores[step])
    both.begin(np.zeros(4), 1)
    with autograd.record():
        _, _, [(losses, _)] = both.objective([mx.nd.array(scores[0])], [mx.nd.zeros(4)], 1.0)
    expected = softened(*map(mx.nd.array, scores), temperature=2.0).asnumpy()
    np.testing.assert_allclose(losses.asnumpy(), expected, rtol=1e-5)
    assert expected.min() > 0.01
