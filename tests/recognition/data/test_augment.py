from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from config.errors import ConfigError
from recognition.data.augment import Augmentation
from recognition.data.images import JPEG, decode_image, encode_image


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
    full = Augmentation(
        *(True, 0.2, 4, 10.0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, (20, 90), 6),
    )
    results = [full(image, rng(seed)) for seed in range(10)]
    assert all(result.shape == image.shape and result.dtype == np.uint8 for result in results)
    assert np.array_equal(image, before)
    assert len({result.tobytes() for result in results}) == 10
    assert np.array_equal(full(image, rng(3)), results[3])


def test_from_config():
    cfg = {'data_rand_mirror': True, 'data_shift': 4, 'data_rotate': 8.0, 'data_brightness': 0.3, 'lr': 0.1}
    assert Augmentation.from_config(cfg) == Augmentation(True, shift=4, rotate=8.0, brightness=0.3)
    assert Augmentation.from_config({}) == Augmentation(mirror=False)


@pytest.mark.parametrize(
    ('settings', 'key'),
    [
        ({'shift': -1}, 'data_shift'),
        ({'shift': 1.5}, 'data_shift'),
        ({'rotate': 181.0}, 'data_rotate'),
        ({'rotate': float('nan')}, 'data_rotate'),
        ({'brightness': 1.1}, 'data_brightness'),
        ({'crop': 0.95}, 'data_crop'),
        ({'cutout': 2.5}, 'data_cutoff'),
        ({'jpeg': -0.1}, 'data_jpeg='),
        ({'jpeg_quality': (50, 20)}, 'data_jpeg_quality'),
    ],
)
def test_a_setting_out_of_range_is_named_by_its_key(settings, key):
    with pytest.raises(ConfigError, match=key):
        Augmentation(**settings)


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Augmentation().shift = 2


def test_a_crop_is_a_part_of_the_image_scaled_up():
    side = 64
    ramp = np.arange(side, dtype=np.float32) * 2
    image = np.repeat(np.stack(np.broadcast_arrays(ramp[:, None], ramp[None]), axis=2), 2, axis=2)[..., :3]
    image = np.ascontiguousarray(np.rint(image).astype(np.uint8))
    for seed in range(50):
        result = Augmentation(mirror=False, crop=0.5)(image, rng(seed)).astype(float)
        for channel, axis in ((0, 0), (2, 1)):
            line = result[:, :, channel].mean(axis=1 - axis)
            slope = np.diff(line).mean()
            assert 0.98 <= slope <= 2.02  # half of the side at the least
            assert np.abs(np.diff(line) - slope).max() < 1.1
            assert -0.5 <= line[0] < line[-1] <= ramp[-1] + 0.5  # nothing from outside


def test_colours_are_changed_by_the_formulas(image):
    luma = np.array([0.299, 0.587, 0.114])
    for seed in range(20):
        result = Augmentation(mirror=False, brightness=0.3, contrast=0.4, saturation=0.5)(image, rng(seed))
        generator = rng(seed)
        bright, contrast, saturation = (generator.uniform(1 - s, 1 + s) for s in (0.3, 0.4, 0.5))
        expected = image * bright
        mean = (expected @ luma).mean()
        expected = mean + (expected - mean) * contrast
        own = (expected @ luma)[..., None]
        expected = own + (expected - own) * saturation
        assert np.abs(result - np.clip(expected, 0, 255)).max() < 0.8  # OpenCV's map is in fixed point


def test_grey_leaves_three_equal_channels_in_its_share(image):
    results = [Augmentation(mirror=False, grey=0.3)(image, rng(seed)) for seed in range(300)]
    grey = [np.array_equal(r[..., 0], r[..., 1]) and np.array_equal(r[..., 1], r[..., 2]) for r in results]
    assert 60 < sum(grey) < 120
    assert all(np.array_equal(r, image) for r, is_grey in zip(results, grey) if not is_grey)
    own = np.rint(image @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(results[grey.index(True)][..., 0] - own).max() <= 1


def test_blur_takes_detail_from_its_share_and_keeps_the_mean(image):
    results = [Augmentation(mirror=False, blur=0.5)(image, rng(seed)).astype(float) for seed in range(200)]
    blurred = [result for result in results if not np.array_equal(result, image)]
    assert 70 < len(blurred) < 130
    assert all(result.std() < 0.8 * image.std() for result in blurred)
    assert all(abs(result.mean() - image.mean()) < 4 for result in blurred)


def test_jpeg_has_the_qualities_asked_for(image):
    known = {decode_image(encode_image(image, JPEG, quality=q), '').tobytes() for q in range(5, 31)}
    results = [Augmentation(mirror=False, jpeg=1.0, jpeg_quality=(5, 30))(image, rng(s)) for s in range(100)]
    assert {result.tobytes() for result in results} <= known
    assert len({result.tobytes() for result in results}) > 15


def test_cut_out_is_a_grey_square_in_every_second_image(image):
    sizes = []
    for seed in range(300):
        result = Augmentation(mirror=False, cutout=8)(image, rng(seed))
        rows, columns = np.nonzero((result == 128).all(axis=2))
        changed = (result != image).any(axis=2)
        sizes.append((np.ptp(rows) + 1, np.ptp(columns) + 1) if len(rows) else (0, 0))
        assert (result[changed] == 128).all()
    assert 110 < sum(size != (0, 0) for size in sizes) < 190
    assert max(sizes) == (8, 8)
    assert min(min(size) for size in sizes if size != (0, 0)) >= 4  # its middle is inside


def test_the_colours_of_insightface():
    assert Augmentation.from_config({'data_color': 1}) == Augmentation(
        False, brightness=0.125, contrast=0.125, saturation=0.125
    )
    strong = Augmentation.from_config({'data_color': 2, 'data_brightness': 0.5})
    assert (strong.brightness, strong.jpeg, strong.jpeg_quality) == (0.5, 0.5, (2, 20))


@pytest.mark.parametrize(
    'settings',
    [
        {'mirror': True},
        {'shift': 3, 'rotate': 20.0, 'crop': 0.3},
        {'brightness': 0.4, 'contrast': 0.4, 'saturation': 0.5},
        {'blur': 1.0},
        {'jpeg': 1.0},
        {'cutout': 8},
    ],
)
def test_a_grey_image_is_changed_as_its_three_equal_channels_are(image, settings):
    grey = image[:, :, :1]
    changed = Augmentation(**{'mirror': False, **settings})
    for seed in range(5):
        result, rgb = changed(grey, rng(seed)), changed(np.repeat(grey, 3, axis=2), rng(seed))
        assert result.shape == grey.shape
        assert result.dtype == np.uint8
        assert np.abs(result.astype(int) - rgb).max() <= 1  # saturation and JPEG round in between


class Furthest:
    """Draws the upper end of every range."""

    def uniform(self, low, high, size=None):
        return high


@pytest.mark.parametrize('shape', [(24, 20, 3), (7, 7, 3), (9, 4, 1)])
def test_a_turn_by_180_degrees_reverses_rows_and_columns(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    turned = Augmentation(mirror=False, rotate=180.0)(image, Furthest())
    np.testing.assert_array_equal(turned, image[::-1, ::-1])
