from __future__ import annotations

import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.verification.baselines import raw_pixels, whitened_pca
from recognition.verification.lfw import normalise, verify

SIZE = 8


def people(count: int, photos: int, seed: int, noise: float = 20.0) -> np.ndarray:
    """Photographs (count, photos, 3, 8, 8): a pattern for each person, and noise."""
    rng = np.random.default_rng(seed)
    pattern = rng.uniform(50, 200, (count, 1, 3, SIZE, SIZE))
    return np.clip(pattern + noise * rng.normal(size=(count, photos, 3, SIZE, SIZE)), 0, 255).astype(np.uint8)


def pairs(noise: float = 20.0):
    faces = people(20, 4, seed=1, noise=noise)
    same = np.arange(40) % 2 == 0
    rows = []
    for pair, answer in enumerate(same):
        person = pair // 2
        rows += [faces[person, pair % 2], faces[person if answer else (person + 1) % 20, 2 + pair % 2]]
    return np.array(rows), same


def test_both_tell_apart_what_is_easy_and_not_what_is_noise():
    images, same = pairs()
    train = people(15, 4, seed=2).reshape(-1, 3, SIZE, SIZE)
    assert raw_pixels(images, same).accuracy > 0.95
    assert whitened_pca(train, images, same, components=20).accuracy > 0.9
    shuffled = np.random.default_rng(0).permutation(images)
    assert raw_pixels(shuffled, same).accuracy < 0.75


def test_raw_pixels_sees_neither_brightness_nor_mirror_images():
    images, same = pairs()
    expected = raw_pixels(images, same)
    brighter = images // 2 + np.where(np.arange(len(images)) % 2, 0, 100)[:, None, None, None].astype(
        np.uint8
    )
    assert raw_pixels(images // 2, same).accuracy == raw_pixels(brighter, same).accuracy
    mirrored = images.copy()
    mirrored[1::2] = mirrored[1::2, :, :, ::-1]
    np.testing.assert_allclose(raw_pixels(mirrored, same).tar, expected.tar)


@pytest.mark.parametrize('components', [1, 7, 40])
def test_whitened_pca_is_that_of_the_covariance(components):
    images, same = pairs(noise=60)
    train = people(15, 4, seed=2).reshape(-1, 3, SIZE, SIZE)
    flat = train.reshape(len(train), -1).astype(np.float64)
    variance, directions = np.linalg.eigh(np.cov(flat.T))
    kept = np.argsort(variance)[::-1][:components]
    both = (images.astype(np.float64) + images[:, :, :, ::-1]).reshape(len(images), -1)
    scores = (both - 2 * flat.mean(axis=0)) @ directions[:, kept] / np.sqrt(variance[kept])
    expected = verify(normalise(scores), same)

    result = whitened_pca(train, images, same, components)

    assert result.accuracy == expected.accuracy
    assert result.auc == pytest.approx(expected.auc, abs=1e-9)


def test_directions_that_are_rounding_noise_are_left_out():
    images, same = pairs()
    few = people(6, 1, seed=2).reshape(-1, 3, SIZE, SIZE)
    repeated = np.concatenate([few] * 4)  # 24 images, 5 directions
    result = whitened_pca(repeated, images, same, components=20)
    assert result.auc == pytest.approx(whitened_pca(repeated, images, same, components=5).auc, abs=1e-9)


def test_what_does_not_fit_is_one_clear_sentence():
    images, same = pairs()
    train = people(5, 2, seed=2).reshape(-1, 3, SIZE, SIZE)
    for components in (0, 10):
        with pytest.raises(ConfigError, match=rf'components={components} must be 1 \.\. 9'):
            whitened_pca(train, images, same, components)
    with pytest.raises(DataError, match=r'\(3, 4, 8\)'):
        whitened_pca(train[:, :, :4], images, same, components=3)
    with pytest.raises(DataError, match='all equal'):
        whitened_pca(np.repeat(train[:1], 9, axis=0), images, same, components=3)
