"""Cosine distances to the last digit, and the images that engines are compared on."""

from __future__ import annotations

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.embedding.agreement import COUNT, check_agreement, cosine_distances, trial_images
from recognition.engines.base import INT8_LIMIT, LIMIT


def test_cosine_distances_worked_out_by_hand():
    first = np.array([[1, 0], [2, 0], [1, 0], [0, 0], [0, 0], [1, 1e-5]])
    second = np.array([[3, 0], [0, 1], [-1, 0], [0, 0], [1, 0], [1, 0]])
    np.testing.assert_allclose(cosine_distances(first, second), [0, 1, 2, 0, 1, 5e-11], rtol=1e-6, atol=1e-16)


def test_trial_images_are_the_same_every_time_and_differ():
    images = trial_images((14, 12, 3), 5)
    assert (images.shape, images.dtype) == ((5, 14, 12, 3), np.uint8)
    np.testing.assert_array_equal(images, trial_images((14, 12, 3), 5))
    steps = np.abs(np.diff(images.astype(int), axis=2)).mean(axis=(1, 2, 3))
    assert (steps[0::2] > 60).all()  # noise
    assert steps[1::2].max() < steps[0::2].min()
    assert len({image.tobytes() for image in images}) == 5


class Fixed:
    """An engine that gives one answer."""

    image_shape, limit, precision = (4, 4, 3), 1e-4, 'float32'

    def __init__(self, name, rows):
        self.name, self.rows = name, np.asarray(rows, np.float32)

    def embed(self, images):
        return np.repeat(self.rows, len(images), axis=0)


@pytest.mark.parametrize(
    ('rows', 'words'),
    [
        (
            [[1, 0.02]],
            r'the engine mine \(float32\) disagrees with theirs on net: .* is 0\.0002, above 0\.0001',
        ),
        ([[np.nan, 0]], 'is nan, above'),
        ([[1, 0, 0]], r'gives shape \(4, 3\) where theirs gives \(4, 2\) for net; they hold two networks'),
    ],
)
def test_what_disagrees_is_refused(rows, words):
    with pytest.raises(CheckpointError, match=words):
        check_agreement(Fixed('mine', rows), Fixed('theirs', [[1, 0]]), 'net')


def test_a_head_that_gives_maps_is_refused_though_both_give_the_same():
    maps = [Fixed(name, np.ones((1, 2, 7, 7))) for name in ('mine', 'theirs')]
    with pytest.raises(
        CheckpointError, match=r'gives shape \(4, 2, 7, 7\) for 4 images, where embeddings, or class'
    ):
        check_agreement(*maps, 'net')


def test_what_agrees_is_measured():
    assert check_agreement(Fixed('mine', [[2, 0.02]]), Fixed('theirs', [[1, 0]]), 'net') == pytest.approx(
        5e-5, rel=1e-3
    )


def test_an_engine_in_int8_is_compared_without_noise():
    """Its scales are those of faces, which noise is beyond."""
    seen = []

    class Watched:
        name = precision = 'any'
        image_shape = (8, 8, 3)

        def __init__(self, limit):
            self.limit = limit

        def embed(self, images):
            seen.append(images)
            return np.ones((len(images), 2))

    for limit, count in ((LIMIT, COUNT), (INT8_LIMIT, COUNT // 2)):
        seen.clear()
        check_agreement(Watched(limit), Watched(limit), 'any')
        assert [len(images) for images in seen] == [count, count]
    np.testing.assert_array_equal(seen[0], trial_images((8, 8, 3), COUNT)[1::2])
