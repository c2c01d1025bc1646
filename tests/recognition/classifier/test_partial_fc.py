"""The classifier in parts against the whole one: shards, sampled identities, and what a step leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from config.errors import ConfigError
from recognition.classifier import partial_fc
from recognition.classifier.partial_fc import PartialFC, build_classifier
from recognition.distributed.kvstore import KVStoreGroup
from recognition.losses.factory import build_loss
from recognition.training.checks import check_settings
from tests.helpers.sharded import BATCH, IDENTITIES, WIDTH, close, devices, settings

import mxnet as mx
from mxnet import autograd

pytestmark = pytest.mark.usefixtures('small_chunks')

LOSSES = {
    'softmax': {'loss_name': 'softmax'},
    'softmax without bias': {'loss_name': 'softmax', 'fc7_no_bias': True},
    'nsoftmax': {'loss_name': 'margin_softmax'},
    'cosface': {'loss_name': 'margin_softmax', 'loss_m3': 0.35},
    'arcface': {'loss_name': 'margin_softmax', 'loss_m2': 0.5},
    'combined': {'loss_name': 'margin_softmax', 'loss_m1': 1.3, 'loss_m2': 0.2, 'loss_m3': 0.1},
    'centres': {'loss_name': 'margin_softmax', 'loss_m2': 0.3, 'loss_centres': 3},
    'adaface': {'loss_name': 'adaface'},
    'magface': {'loss_name': 'magface', 'magface_la': 1.0},
}
OPTIMIZERS = {'sgd': {}, 'nag': {'optimizer': 'nag'}, 'adamw': {'optimizer': 'adamw'}, 'plain': {'mom': 0.0}}


def parts(cfg, number=1):
    return PartialFC(cfg, devices(number), KVStoreGroup('device', devices(number)))


def samples(seed=0, identities=IDENTITIES):
    draw = np.random.RandomState(seed)
    embeddings = draw.normal(0, 2, (BATCH, WIDTH)).astype(np.float32)
    return embeddings, draw.randint(0, identities, BATCH).astype(np.float32)


def random_values(cfg, seed=3):
    """Values of a whole classifier, by name."""
    draw, block = np.random.RandomState(seed), build_loss(cfg)
    return {
        name: draw.normal(0 if each.grad_req != 'null' else 20, 0.5, each.shape).astype(np.float32)
        for name, each in block.collect_params().items()
    }


def of_parts(classifier, embeddings, labels, number=1, step=0, scale=1.0):
    """Return losses, embedding gradients and predictions of a step."""
    classifier.begin(labels, step)
    inputs = [mx.nd.array(x, ctx) for x, ctx in zip(np.split(embeddings, number), devices(number))]
    targets = [mx.nd.array(y, ctx) for y, ctx in zip(np.split(labels, number), devices(number))]
    for each in inputs:
        each.attach_grad()
    with autograd.record():
        heads, gradients, [(losses, best, *states)] = classifier.objective(
            [x * 1 for x in inputs], targets, scale
        )
    autograd.backward(heads, gradients)
    found = np.concatenate([each.grad.asnumpy() for each in inputs])
    return losses.asnumpy(), found, classifier.predictions(best, labels), [s.asnumpy() for s in states]


def of_the_whole(block, embeddings, labels, chosen=None):
    """Return the same of the whole classifier, with the logits of identities that were not chosen out of the way."""
    inputs, targets = mx.nd.array(embeddings), mx.nd.array(labels)
    inputs.attach_grad()
    if chosen is None:
        with autograd.record():
            losses, logits, *states = block(inputs, targets)
    else:
        away = np.full((1, IDENTITIES), -1e4, np.float32)
        away[0, chosen] = 0
        with autograd.record():
            _, logits, *states = block(inputs, targets)
            logits = mx.nd.broadcast_add(logits, mx.nd.array(away))
            losses = block.cross_entropy(mx.nd, logits, targets)
            pull = block.pull(mx.nd, inputs)
            losses = losses if pull is None else losses + pull
    losses.backward()
    best = block.predictions(logits, labels)
    return losses.asnumpy(), inputs.grad.asnumpy(), best, [s.asnumpy() for s in states]


def whole(cfg, values):
    block = build_loss(cfg)
    block.initialize()
    for name, parameter in block.collect_params().items():
        parameter.set_data(mx.nd.array(values[name]))
    return block


def gradients_of(classifier):
    """Return the gradients of the rows of all shards by name; rows that were not chosen have 0."""
    found = {}
    for name in classifier.shards[0].tables:
        rows = []
        for shard in classifier.shards:
            table = shard.tables[name]
            own = np.zeros(table.values.shape, np.float32)
            own[slice(None) if shard.chosen is None else shard.chosen] = table.gradient.asnumpy()
            rows.append(own.reshape((-1, *table.shape[1:])))
        found[name] = np.concatenate(rows)
    return found


@pytest.mark.parametrize('number', [1, 2, 4])
@pytest.mark.parametrize('loss', LOSSES)
def test_shards_compute_what_the_whole_classifier_does(loss, number):
    cfg = settings(**LOSSES[loss])
    values = random_values(cfg)
    classifier, block = parts(cfg, number), whole(cfg, values)
    classifier.load(values)
    for name, value in classifier.values().items():
        np.testing.assert_array_equal(value, values[name])
    embeddings, labels = samples(identities=IDENTITIES // 2)  # some shards have none of the labels
    ours = of_parts(classifier, embeddings, labels, number)
    theirs = of_the_whole(block, embeddings, labels)
    for one, other in zip(ours[:3], theirs[:3]):
        close(one, other)
    assert len(ours[3]) == len(theirs[3]) == len(block.states)
    for one, other in zip(ours[3], theirs[3]):
        close(one, other)
    found = gradients_of(classifier)
    assert sorted(found) == sorted(n for n, p in block.collect_params().items() if p.grad_req != 'null')
    for name, gradient in found.items():
        close(gradient, block.collect_params()[name].grad().asnumpy())


@pytest.mark.parametrize('loss', LOSSES)
def test_a_sampled_step_is_a_whole_one_without_the_others(loss):
    cfg = settings(**LOSSES[loss], sample_rate=0.6)
    values = random_values(cfg)
    classifier, block = parts(cfg, 2), whole(cfg, values)
    classifier.load(values)
    embeddings, labels = samples(1)
    ours = of_parts(classifier, embeddings, labels, 2)
    chosen = np.concatenate([shard.chosen + shard.first for shard in classifier.shards])
    assert set(labels.astype(int)) <= set(chosen)
    assert len(chosen) < IDENTITIES
    theirs = of_the_whole(block, embeddings, labels, chosen)
    for one, other in zip(ours[:3], theirs[:3]):
        close(one, other)
    for name, gradient in gradients_of(classifier).items():
        close(gradient, block.collect_params()[name].grad().asnumpy())


def test_the_gradient_of_a_sampled_step_is_that_of_its_loss():
    cfg = settings(**LOSSES['arcface'], sample_rate=0.5)
    classifier, values = parts(cfg), random_values(cfg)
    classifier.load(values)
    embeddings, labels = samples(2)
    _, gradient, *_ = of_parts(classifier, embeddings, labels)
    rows, chosen = gradients_of(classifier)['fc7_weight'], classifier.shards[0].chosen

    def loss(embeddings, weight):
        classifier.load({'fc7_weight': weight})
        return of_parts(classifier, embeddings, labels)[0].sum(dtype=np.float64)

    def slope(function, array, place, step=2e-2):
        moved = [array.copy(), array.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        return (function(moved[0]) - function(moved[1])) / (2 * step)

    weight, draw = values['fc7_weight'], np.random.RandomState(0)
    for _ in range(12):
        place = draw.randint(BATCH), draw.randint(WIDTH)
        measured = slope(lambda x: loss(x, weight), embeddings, place)
        assert gradient[place] == pytest.approx(measured, rel=0.02, abs=5e-3)
        place = draw.choice(chosen), draw.randint(WIDTH)
        measured = slope(lambda w: loss(embeddings, w), weight, place)
        assert rows[place] == pytest.approx(measured, rel=0.02, abs=2e-2)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_rows_that_were_not_chosen_stay_as_they_were_with_their_momentum(name):
    classifier = parts(settings(**OPTIMIZERS[name], sample_rate=0.5, **LOSSES['softmax']), 2)
    for step in range(3):
        of_parts(classifier, *samples(step), 2, step)
        classifier.update(0.1, 0.3, step)
    before = {key: np.asarray(each) for key, each in classifier.arrays().items()}
    of_parts(classifier, *samples(3), 2, 3)
    classifier.update(0.1, 0.3, 3)
    chosen = np.concatenate([shard.chosen + shard.first for shard in classifier.shards])
    others = np.setdiff1d(np.arange(IDENTITIES), chosen)
    assert len(others)
    for key, each in classifier.arrays().items():
        after = np.asarray(each)
        np.testing.assert_array_equal(after[others], before[key][others], err_msg=key)
        changed = after[chosen] != before[key][chosen]
        assert changed.reshape(len(chosen), -1).any(axis=1).all(), key


def test_a_loss_that_cannot_be_split_is_refused_before_a_face_is_read():
    check_settings(settings())
    with pytest.raises(ConfigError, match=r"sample_rate=0.5 does not go with loss_name='atriplet'"):
        check_settings(settings(loss_name='atriplet', sample_rate=0.5))


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        ({'sample_rate': 0.0}, r'sample_rate=0.0 .*a number from 0.0001 to 1'),
        ({'sample_rate': 1.5}, r'sample_rate=1.5 .*a number from 0.0001 to 1'),
        (
            {'loss_name': 'triplet'},
            "fc7_sharded=True does not go with loss_name='triplet', which has no classifier",
        ),
        (
            {'loss_name': 'curricularface', 'sample_rate': 0.5},
            "sample_rate=0.5 does not go with .*'curricularface'",
        ),
        ({'num_classes': 1}, 'num_classes=1 is less than the 2 devices'),
        (
            {'num_classes': 2**24, 'emb_size': 512},
            'array of mxnet has less than 2147483648; train on 5 devices',
        ),
    ],
)
def test_what_cannot_be_split_or_sampled_is_said_in_a_sentence(more, words):
    with pytest.raises(ConfigError, match=words) as caught:
        parts(settings(**more), 2)
    assert '\n' not in str(caught.value)


def test_an_array_of_a_shard_has_less_than_the_most_values(monkeypatch):
    """Of 23 identities in two shards the larger has 12, of 6 values each."""
    monkeypatch.setattr(partial_fc, 'MOST', 73)
    parts(settings(), 2)
    monkeypatch.setattr(partial_fc, 'MOST', 72)
    with pytest.raises(ConfigError, match=r'is 72 values .* has less than 72; train on 3 devices'):
        parts(settings(), 2)


def test_squares_of_the_parts_are_added_in_double():
    """A sum of np.float32 would lose the one; numpy before 2 adds them in double, as the classifier does with any."""
    (shard,) = parts(settings(loss_name='margin_softmax')).shards
    (table,) = shard.tables.values()
    table.gradient = mx.nd.zeros((IDENTITIES, WIDTH))
    table.gradient[0, 0], table.gradient[IDENTITIES - 1, 0] = 4096, 1
    assert shard.squares() == 2.0**24 + 1
    assert type(shard.squares()) is float


def test_each_step_draws_other_identities_and_the_same_again_when_repeated():
    """Of 23 rows 11 are chosen, of them at most 12 labels' own; in 40 steps all take part."""
    cfg, labels = settings(**LOSSES['arcface'], sample_rate=0.5), np.array([3.0, 7.0] * (BATCH // 2))

    def chosen(step):
        classifier = parts(cfg)
        classifier.begin(labels, step)
        return tuple(classifier.shards[0].chosen)

    steps = [chosen(step) for step in range(40)]
    assert steps[:3] == [chosen(step) for step in range(3)]
    assert len(set(steps)) == 40
    assert {number for step in steps for number in step} == set(range(IDENTITIES))


@pytest.mark.parametrize('loss', ['arcface', 'magface', 'softmax'])
def test_the_gradients_and_not_the_losses_are_scaled(loss):
    found = []
    for scale in (1.0, 8.0):
        cfg = settings(**LOSSES[loss])
        classifier = parts(cfg, 2)
        classifier.load(random_values(cfg))
        losses, gradient, *_ = of_parts(classifier, *samples(), 2, scale=scale)
        found.append((losses, gradient, gradients_of(classifier)))
    (losses, gradient, rows), (same, eight, more) = found
    close(losses, same)
    close(8 * gradient, eight)
    for name, each in rows.items():
        close(8 * each, more[name])


def test_weights_of_classes_divide_and_a_scale_does_not_change_the_loss():
    weights = np.array([0.5, 2.0, 1.0])
    cfg = resolve('r18', 'images', 'classes', num_classes=3, class_weights=tuple(weights))
    classifier = build_classifier(cfg, devices(1), KVStoreGroup('device', devices(1)))
    scores, labels = mx.nd.array(np.log([[1, 2, 1], [2, 1, 1], [1, 1, 2]])), np.array([0, 1, 1])
    classifier.begin(labels, 0)
    (head,), _, ((loss, _),) = classifier.objective([scores], [mx.nd.array(labels)], 8.0)
    close(loss.asnumpy(), 3 / 4.5 * weights[labels] * np.log(4))
    close(head.asnumpy(), 8 * loss.asnumpy())
