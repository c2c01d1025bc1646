"""The classifier in parts against the whole one: shards, sampled identities, and what a step leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError, ConfigError
from recognition import shard as shards
from recognition.checks import check_settings
from recognition.losses import build_loss
from recognition.negatives import choose
from recognition.partial import PartialClassifier
from recognition.trainer import Trainer
from recognition.workers import Workers
from tests.recognition.test_trainer import SIDE, plain_network

import mxnet as mx
from mxnet import autograd

IDENTITIES, WIDTH, BATCH = 23, 6, 12
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


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Let the rows of a shard come in several chunks, the last of another size."""
    monkeypatch.setattr(shards, 'CHUNK', 5)


def settings(**more):
    both = {
        'emb_size': WIDTH,
        'num_classes': IDENTITIES,
        'loss_s': 8.0,
        'fc7_sharded': True,
        'clip_norm': 0.7,
    }
    return resolve('r18', 'folder', 'cosface', **{**both, 'image_shape': (SIDE, SIDE, 3), **more})


def devices(number):
    return [mx.cpu(device) for device in range(number)]


def parts(cfg, number=1):
    return PartialClassifier(cfg, devices(number), Workers('device', devices(number)))


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


def of_parts(classifier, embeddings, labels, number=1, step=0):
    """Return losses, embedding gradients and predictions of a step."""
    classifier.begin(labels, step)
    inputs = [mx.nd.array(x, ctx) for x, ctx in zip(np.split(embeddings, number), devices(number))]
    targets = [mx.nd.array(y, ctx) for y, ctx in zip(np.split(labels, number), devices(number))]
    for each in inputs:
        each.attach_grad()
    with autograd.record():
        heads, gradients, [(losses, best, *states)] = classifier.objective(
            [x * 1 for x in inputs], targets, 1.0
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


def close(one, other, tolerance=1e-5):
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('number', [1, 2, 4])
@pytest.mark.parametrize('loss', LOSSES)
def test_shards_compute_what_the_whole_classifier_does(loss, number):
    cfg = settings(**LOSSES[loss])
    values = random_values(cfg)
    classifier, block = parts(cfg, number), whole(cfg, values)
    classifier.load(values)
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


def test_all_positives_are_chosen_and_the_others_alike():
    draw = np.random.default_rng(0)
    positives, counts = np.array([3, 17, 3, 0, 39]), np.zeros(40)
    for _ in range(4000):
        found = choose(positives, 40, 0.25, draw)
        assert len(found) == len(set(found)) == 10
        assert (np.diff(found) > 0).all()
        counts[found] += 1
    own = np.unique(positives)
    assert (counts[own] == 4000).all()
    others = np.delete(counts, own)
    assert abs(others - 4000 * 6 / 36).max() < 5 * (4000 * 6 / 36 * 30 / 36) ** 0.5


@pytest.mark.parametrize(
    ('positives', 'rate', 'number'),
    [(range(9), 0.5, 9), ((), 0.0001, 1), (range(10), 0.1, 10), ((), 1.0, 10)],
)
def test_at_the_ends_of_the_range_the_number_is_right(positives, rate, number):
    found = choose(np.array(positives, np.int64), 10, rate, np.random.default_rng(0))
    assert len(found) == number
    assert set(positives) <= set(found)


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
