from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from config.errors import CheckpointError, ConfigError, DataError
from recognition.verification.lfw import Verification, embed, normalise, verify
from recognition.verification.roc import judge

import mxnet as mx


def vectors_at(distances) -> np.ndarray:
    """Unit vectors in the plane, two for each squared distance: |a - b|^2 = 2 - 2 cos(angle)."""
    angles = np.arccos(1 - np.asarray(distances, dtype=np.float64) / 2)
    rows = np.zeros((2 * len(angles), 2))
    rows[0::2, 0] = 1
    rows[1::2] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return rows


def random_pairs(rng, pairs: int, size: int):
    same = rng.random(pairs) < 0.5
    same[:2] = True, False
    first = rng.normal(size=(pairs, size))
    near = first + rng.uniform(0.1, 2) * rng.normal(size=first.shape)
    second = np.where(same[:, None], near, rng.normal(size=first.shape))
    return normalise(np.stack([first, second], axis=1).reshape(-1, size)), same


def protocol_by_the_letter(embeddings, same, folds: int):
    """Count every threshold on every fold, one by one: accuracy of each fold, threshold of each fold."""
    distance = np.sum((embeddings[0::2] - embeddings[1::2]) ** 2, axis=1)
    thresholds = np.arange(0, 4, 0.01)
    sizes = [len(same) // folds + (fold < len(same) % folds) for fold in range(folds)]
    accuracies, chosen, start = [], [], 0
    for size in sizes:
        test = list(range(start, start + size))
        train = [pair for pair in range(len(same)) if pair not in test]
        start += size
        on_train = [np.mean((distance[train] < threshold) == same[train]) for threshold in thresholds]
        best = thresholds[int(np.argmax(on_train))]
        accuracies.append(np.mean((distance[test] < best) == same[test]))
        chosen.append(best)
    return accuracies, chosen


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('folds', [2, 3, 10])
def test_accuracy_is_that_of_the_protocol_by_the_letter(seed, folds):
    rng = np.random.default_rng(seed)
    embeddings, same = random_pairs(rng, int(rng.integers(12, 60)), int(rng.integers(2, 16)))
    if seed % 2:
        order = np.argsort(same, kind='stable')  # folds with one kind of answer only
        embeddings = embeddings.reshape(len(same), 2, -1)[order].reshape(embeddings.shape)
        same = same[order]
    accuracies, thresholds = protocol_by_the_letter(embeddings, same, folds)

    result = verify(embeddings, same, folds)

    assert result.fold_accuracies == pytest.approx(accuracies, abs=1e-12)
    assert result.thresholds == pytest.approx(thresholds, abs=1e-12)
    assert result.accuracy == pytest.approx(np.mean(accuracies))
    assert result.accuracy_std == pytest.approx(np.std(accuracies))
    assert (result.pairs, result.folds) == (len(same), folds)


def test_figures_worked_out_by_hand():
    same = np.array([True, False] * 5)
    distances = [
        0.105,
        3.105,
        0.205,
        3.205,
        0.305,
        3.305,
        0.405,
        3.405,
        2.005,
        1.005,
    ]  # the last two are the wrong way round
    result = verify(vectors_at(distances), same, folds=5)
    # the smallest of the best thresholds lies just above the largest near pair of the other folds
    assert result.thresholds == pytest.approx([0.41, 0.41, 0.41, 0.31, 0.41])
    assert result.fold_accuracies == (1, 1, 1, 0.5, 0.5)
    assert result.accuracy == pytest.approx(0.8)
    assert result.accuracy_std == pytest.approx(0.06**0.5)
    # in ascending order: four same, a different one, the last same one, four different ones
    np.testing.assert_allclose(result.far, [0, 0, 0, 0, 0, 0.2, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(result.tar, [0, 0.2, 0.4, 0.6, 0.8, 0.8, 1, 1, 1, 1, 1])
    assert result.auc == pytest.approx(0.96)  # 24 of the 25 (same, different) couples are in order
    assert result.eer == pytest.approx(0.2)
    assert result.tar_at_far == {}  # one in five is the smallest rate there is


@pytest.mark.parametrize(
    ('different', 'rates'), [(9, []), (10, [0.1]), (999, [0.1, 0.01]), (1000, [0.1, 0.01, 0.001])]
)
def test_tar_is_given_for_the_rates_that_the_pairs_support(different, rates):
    same = np.array([True] * 20 + [False] * different)
    distances = np.concatenate([np.linspace(0.05, 1, 20), np.linspace(0.5, 3.9, different)])
    result = verify(vectors_at(distances), same)
    assert list(result.tar_at_far) == rates
    for rate, tar in result.tar_at_far.items():
        allowed = int(round(rate * different, 9))  # as many may be falsely accepted, not one more
        bound = np.sort(distances[20:])[allowed]
        assert tar == pytest.approx(np.mean(distances[:20] < bound))


def test_pairs_at_one_distance_are_accepted_together():
    same = np.array([True, False] * 10)
    result = verify(vectors_at([1.0] * 20), same)
    np.testing.assert_array_equal(result.far, [0, 1])
    np.testing.assert_array_equal(result.tar, [0, 1])
    assert result.auc == pytest.approx(0.5)
    assert result.eer == pytest.approx(0.5)
    assert result.tar_at_far == {0.1: 0.0}


@pytest.mark.parametrize('right', [True, False])
def test_the_ends_of_the_scale(right):
    same = np.array([True, False] * 20)
    result = verify(vectors_at(np.where(same == right, 0.5, 3.0)), same)
    assert (result.accuracy, result.auc, result.eer) == pytest.approx((1, 1, 0) if right else (0.5, 0, 1))


def test_the_summary_goes_through_json():
    embeddings, same = random_pairs(np.random.default_rng(0), 300, 8)
    result = verify(embeddings, same)
    assert isinstance(result, Verification)
    summary = json.loads(json.dumps(result.as_dict()))
    assert set(summary) == {
        'accuracy', 'accuracy_std', 'accuracy_interval', 'pairs', 'folds', 'threshold', 'tar_at_far',
        'tar_intervals', 'eer', 'auc',
    }  # fmt: skip
    assert summary['tar_at_far'] == {'0.1': result.tar_at_far[0.1], '0.01': result.tar_at_far[0.01]}
    assert summary['threshold'] == pytest.approx(np.mean(result.thresholds))


def test_what_does_not_fit_is_one_clear_sentence():
    embeddings, same = random_pairs(np.random.default_rng(0), 20, 4)
    with pytest.raises(DataError, match='9 pairs are too few for 10 folds'):
        verify(embeddings[:18], same[:9])
    with pytest.raises(ConfigError, match='folds=1'):
        verify(embeddings, same, folds=1)
    with pytest.raises(ConfigError, match=r'folds=2\.5'):
        verify(embeddings, same, folds=2.5)
    with pytest.raises(DataError, match=r'\(39, 4\) do not fit 20 answers'):
        verify(embeddings[:-1], same)
    with pytest.raises(DataError, match='all 20 pairs are the same person'):
        verify(embeddings, np.ones(20, dtype=bool))
    with pytest.raises(DataError, match='all 20 pairs are different people'):
        verify(embeddings, np.zeros(20, dtype=bool))
    with pytest.raises(DataError, match='not L2-normalised'):
        verify(1.1 * embeddings, same)
    with pytest.raises(DataError, match='not finite'):
        verify(np.where(np.arange(40)[:, None] == 3, np.nan, embeddings), same)


def test_normalise_leaves_zeros_alone():
    rows = normalise(np.array([[3, 4], [0, 0], [0, -2]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [0, -1]])


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 3, 6, 5), dtype=np.uint8)


class Columns:
    """An embedding that tells an image from its mirror: the mean of every column."""

    def __init__(self):
        self.batches = []

    def __call__(self, data):
        assert data.dtype == np.float32
        self.batches.append(len(data))
        return data.mean(axis=(1, 2))


@pytest.mark.parametrize('flip', ['sum', 'concat', 'none'])
def test_embed_adds_the_mirror_image_and_normalises(flip):
    data = images(7)
    columns = data.astype(np.float64).mean(axis=(1, 2))
    mirrored = columns[:, ::-1]
    expected = {'sum': columns + mirrored, 'concat': np.hstack([columns, mirrored]), 'none': columns}[flip]
    expected /= np.sqrt((expected**2).sum(axis=1, keepdims=True))
    net = Columns()

    embeddings = embed(net, data, mx.cpu(), batch_size=3, flip=flip)

    assert embeddings.dtype == np.float32
    assert net.batches == ([3, 3, 1] if flip == 'none' else [3, 3, 3, 3, 1, 1])
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)


def test_embed_sees_an_image_of_several_pairs_once():
    data = images(4)[[2, 0, 2, 1, 0, 3, 2]]
    net = Columns()
    embeddings = embed(net, data, mx.cpu(), batch_size=3)
    assert net.batches == [3, 3, 1, 1]
    np.testing.assert_array_equal(
        embeddings, np.concatenate([embed(Columns(), data[i : i + 1]) for i in range(7)])
    )


def test_embed_is_the_same_for_every_batch_size_with_a_hybrid_block():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(4, 3), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dense(5))
    net.initialize(mx.init.Normal(0.1))
    net.hybridize(static_alloc=True)
    data = images(10)
    whole = embed(net, data, mx.cpu(), batch_size=10)
    assert whole.shape == (10, 5)
    for batch_size in (1, 4, 64):
        np.testing.assert_allclose(embed(net, data, mx.cpu(), batch_size=batch_size), whole, atol=1e-5)


def test_embed_names_what_is_wrong_with_the_network():
    data = images(5)

    def sick(batch):
        rows = batch.mean(axis=(1, 2))
        rows[-1, 0] = np.nan
        return rows

    with pytest.raises(CheckpointError, match=r'not finite for 3 of 5 images \(the first is image 1\)'):
        embed(sick, data, mx.cpu(), batch_size=2)
    with pytest.raises(CheckpointError, match=r'shape \(5, 3, 6, 5\) for 5 images'):
        embed(lambda batch: batch, data, mx.cpu())
    with pytest.raises(ConfigError, match='batch_size=0'):
        embed(Columns(), data, mx.cpu(), batch_size=0)
    with pytest.raises(DataError, match='no images'):
        embed(Columns(), data[:0], mx.cpu())


def test_another_flip_is_named():
    with pytest.raises(
        ConfigError, match=r"flip='som' is not one of sum, concat, none; did you mean 'sum'\?"
    ):
        embed(Columns(), images(2), mx.cpu(), flip='som')


def test_figures_have_their_intervals():
    rng = np.random.default_rng(4)
    embeddings = vectors_at(rng.uniform(0, 2, 400) + np.arange(400) % 2)
    result = verify(embeddings, np.arange(400) % 2 == 0)
    assert result.interval[0] < result.accuracy < result.interval[1]
    assert result.tar_intervals.keys() == result.tar_at_far.keys() == {0.1, 0.01}
    for far, (low, high) in result.tar_intervals.items():
        assert low <= result.tar_at_far[far] <= high
    assert json.loads(json.dumps(result.as_dict()))['tar_intervals']['0.1'] == list(result.tar_intervals[0.1])


@pytest.mark.parametrize('seed', range(6))
def test_curve_and_area_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    embeddings, same = random_pairs(rng, 300, 4)
    if seed % 2:  # ties
        embeddings = vectors_at(rng.integers(1, 12, 300) / 3.0)
    result = verify(embeddings, same)
    distance = np.sum((embeddings[0::2] - embeddings[1::2]) ** 2, axis=1)
    far, tar, _ = roc_curve(same, -distance, drop_intermediate=False)
    np.testing.assert_allclose(result.far, far, atol=1e-12)
    np.testing.assert_allclose(result.tar, tar, atol=1e-12)
    assert result.auc == pytest.approx(roc_auc_score(same, -distance), abs=1e-12)
    for limit, share in result.tar_at_far.items():
        assert share == tar[far <= limit].max()


def test_a_pair_at_the_threshold_is_not_the_same():
    """The protocol accepts below it: of pairs at exactly 2 the first threshold that accepts them is 2.01."""
    rows = np.array([[1.0, 0], [0, 1], [1, 0], [-1, 0]] * 4)
    assert verify(rows, [True, False] * 4, folds=2).thresholds == pytest.approx((2.01, 2.01))
    assert verify(rows, [False, True] * 4, folds=2).fold_accuracies == (0.5, 0.5)


def test_the_interval_of_a_share_counts_the_pairs_that_were_accepted():
    """29 of 100, of which the share times 100 is 28.999999999999996."""
    distance = np.concatenate([np.full(29, 0.1), np.ones(71), np.full(10, 0.5)])
    same = np.arange(110) < 100
    expected = stats.binomtest(29, 100).proportion_ci(method='wilson')
    assert judge(distance, same)['tar_intervals'][0.1] == pytest.approx((expected.low, expected.high))
