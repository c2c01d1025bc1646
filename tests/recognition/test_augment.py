from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from config.errors import ConfigError
from recognition.augment import Augmentation


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_everything_off_returns_the_image(image):
    generator = rng()
    before = generator.bit_generator.state
    assert Augmentation(mirror=False)(image, generator) is image
    assert generator.bit_generator.state == before


def test_mirror_changes_about_half_of_the_images(image):
    results = [Augmentation()(image, rng(seed)) for seed in range(400)]
    mirrored = sum(np.array_equal(result, image[:, ::-1]) for result in results)
    assert mirrored + sum(np.array_equal(result, image) for result in results) == 400
    assert 160 < mirrored < 240


def test_shift_moves_whole_pixels_and_repeats_the_border(image):
    shifted = Augmentation(mirror=False, shift=3)
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)), mode='edge')
    windows = {padded[y : y + 24, x : x + 20].tobytes(): (y, x) for y in range(7) for x in range(7)}
    seen = {windows[shifted(image, rng(seed)).tobytes()] for seed in range(600)}
    assert len(seen) == 49  # every shift from -3 to 3 along both axes


def test_rotation_turns_about_the_middle():
    image = np.zeros((41, 41, 3), np.uint8)
    image[18:23, :] = 255  # a bar along the middle row
    result = Augmentation(mirror=False, rotate=90.0)(image, rng(1)).astype(float)
    angle = rng(1).uniform(-90, 90)
    assert abs(angle) < 80  # so that the bar leaves through the sides asked for below
    assert result[20, 20].tolist() == [255] * 3
    rows, columns = np.nonzero(result[:, :, 0] > 200)
    slope = np.polyfit(columns - 20.0, rows - 20.0, 1)[0] if abs(angle) < 45 else None
    if slope is None:
        slope = 1 / np.polyfit(rows - 20.0, columns - 20.0, 1)[0]
    assert np.degrees(np.arctan(-slope)) == pytest.approx(angle, abs=4)  # counter-clockwise on the screen


def test_rotation_repeats_the_border():
    image = np.full((16, 16, 3), 90, np.uint8)
    for seed in range(20):
        assert np.array_equal(Augmentation(rotate=45.0, shift=5)(image, rng(seed)), image)


def test_brightness_scales_rounds_and_clips(image):
    for seed in range(20):
        result = Augmentation(mirror=False, brightness=0.5)(image, rng(seed))
        factor = rng(seed).uniform(0.5, 1.5)
        assert np.abs(result - np.clip(image * factor, 0, 255)).max() < 0.501


def test_the_result_is_an_image_like_the_one_given_which_is_left_alone(image):
    before = image.copy()
    full = Augmentation(mirror=True, shift=4, rotate=10.0, brightness=0.2)
    results = [full(image, rng(seed)) for seed in range(10)]
    assert all(result.shape == image.shape and result.dtype == np.uint8 for result in results)
    assert np.array_equal(image, before)
    assert len({result.tobytes() for result in results}) == 10
    assert np.array_equal(full(image, rng(3)), results[3])


def test_from_config():
    cfg = {'data_rand_mirror': True, 'data_shift': 4, 'data_rotate': 8.0, 'data_brightness': 0.3, 'lr': 0.1}
    assert Augmentation.from_config(cfg) == Augmentation(True, 4, 8.0, 0.3)
    assert Augmentation.from_config({}) == Augmentation(mirror=False)


@pytest.mark.parametrize(
    ('settings', 'key'),
    [
        ({'shift': -1}, 'data_shift'),
        ({'shift': 1.5}, 'data_shift'),
        ({'rotate': 181.0}, 'data_rotate'),
        ({'rotate': float('nan')}, 'data_rotate'),
        ({'brightness': 1.1}, 'data_brightness'),
    ],
)
def test_a_setting_out_of_range_is_named_by_its_key(settings, key):
    with pytest.raises(ConfigError, match=key):
        Augmentation(**settings)


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Augmentation().shift = 2
