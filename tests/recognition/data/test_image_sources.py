"""Whatever holds an image, and whatever image it is: uint8 RGB comes out, or a sentence."""

from __future__ import annotations

import os
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from config.errors import DataError
from recognition.data.image_sources import INTERPOLATIONS, Item, find_files, items, resized

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (9, 7), dtype=np.uint8)


def png(image):
    order = image[..., [2, 1, 0, *range(3, image.shape[2])]] if image.ndim == 3 else image
    return cv2.imencode('.png', order)[1].tobytes()


def read(images):
    return [item.load() for item in items(images)]


def repeated(grey):
    return np.repeat(grey[..., None], 3, axis=2)


ALPHA = np.dstack([COLOUR, GREY])
DEEP = (COLOUR.astype(np.uint16) << 8) | 77


@pytest.mark.parametrize(
    ('image', 'expected'),
    [
        (COLOUR, COLOUR),
        (GREY, repeated(GREY)),
        (ALPHA, COLOUR),
        (DEEP, COLOUR),
        ((GREY.astype(np.uint16) << 8) | 9, repeated(GREY)),
        (np.dstack([DEEP, DEEP[..., 0]]), COLOUR),
        (COLOUR[:1, :1], COLOUR[:1, :1]),
    ],
    ids=['colour', 'grey', 'alpha', '16-bit', '16-bit grey', '16-bit alpha', 'one pixel'],
)
def test_array_file_and_bytes_give_the_same(tmp_path, image, expected):
    file = tmp_path / 'image.png'
    file.write_bytes(png(image))
    found = read([image, file, str(file), png(image), bytearray(png(image))])
    for each in found:
        assert each.dtype == np.uint8
        np.testing.assert_array_equal(each, expected)
    assert len(found) == 5


def test_grey_with_an_axis_of_its_own():
    np.testing.assert_array_equal(read(GREY[..., None])[0], repeated(GREY))


def with_orientation(jpeg, orientation):
    """Put an EXIF segment into a JPEG."""
    entry = struct.pack('>HHIHH', 0x0112, 3, 1, orientation, 0)
    tiff = b'MM\0*' + struct.pack('>I', 8) + struct.pack('>H', 1) + entry + struct.pack('>I', 0)
    segment = b'Exif\0\0' + tiff
    return jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(segment) + 2) + segment + jpeg[2:]


def test_a_photograph_is_turned_as_its_exif_orientation_says():
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16] = 255
    jpeg = cv2.imencode('.jpg', image)[1].tobytes()
    upright, turned = read([jpeg, with_orientation(jpeg, 6)])  # 6: turn it clockwise
    assert (upright.shape, turned.shape) == ((16, 32, 3), (32, 16, 3))
    assert turned[:16].min() > 200
    assert turned[16:].max() < 50


def test_folders_are_read_in_order_with_those_below_them(tmp_path):
    names = ['b.png', 'a/z.PNG', 'a/b/c.jpg', 'c.txt', '.hidden.png', '.git/x.png', 'd.pgm']
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(GREY))
    found = [item.name for item in items(tmp_path)]
    assert found == [str(tmp_path / name) for name in ('a/b/c.jpg', 'a/z.PNG', 'b.png', 'd.pgm')]


def test_names_count_through_all_that_is_given(tmp_path):
    (tmp_path / 'a.png').write_bytes(png(GREY))
    given = [GREY, tmp_path, np.stack([COLOUR, COLOUR]), (png(GREY) for _ in range(2))]
    names = [item.name for item in items(given)]
    assert names == ['image 0', str(tmp_path / 'a.png'), 'image 2', 'image 3', 'image 4', 'image 5']


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    (first,) = items(tmp_path / 'later.png')
    with pytest.raises(DataError, match=r'later\.png cannot be read: No such file'):
        first.load()
    (tmp_path / 'later.png').write_bytes(png(COLOUR))
    np.testing.assert_array_equal(first.load(), COLOUR)


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        (3, 'an int is not an image'),
        ({'a': GREY}, 'a dict is not an image'),
        (None, 'a NoneType is not an image'),
        ([GREY, 3.5], 'a float is not an image'),
        (GREY / 255, 'image 0 is float64, where uint8'),
        (np.zeros((3, 9, 7), np.uint8), r'shape \(3, 9, 7\)'),
        (np.zeros((2, 3, 9, 7), np.uint8), r'shape \(3, 9, 7\)'),
        (np.zeros((0, 7, 3), np.uint8), r'shape \(0, 7, 3\)'),
        (np.zeros(7, np.uint8), r'shape \(7,\)'),
        (b'', 'image 0 holds no image'),
        (png(COLOUR)[:40], 'image 0 holds 40 bytes'),
    ],
)
def test_what_is_no_image_is_one_sentence(given, words):
    with pytest.raises(DataError, match=words):
        read(given)


def test_a_folder_without_images_is_told(tmp_path):
    (tmp_path / 'a.txt').write_text('a')
    with pytest.raises(DataError, match=r'holds no images \(\.jpg'):
        read(tmp_path)


def test_a_name_that_is_no_unicode_can_be_printed(tmp_path):
    file = tmp_path / b'\xff.png'.decode('utf-8', 'surrogateescape')
    file.write_bytes(png(COLOUR))
    (item,) = items(tmp_path)
    item.name.encode('utf-8')
    np.testing.assert_array_equal(item.load(), COLOUR)


def test_huge_and_tiny_images_are_stretched():
    huge = np.zeros((3000, 5000, 3), np.uint8)
    huge[:, 2500:] = 200
    found = resized(huge, (14, 12))
    assert found.shape == (14, 12, 3)
    assert (found[:, :6] == 0).all()
    assert (found[:, 6:] == 200).all()
    np.testing.assert_array_equal(
        resized(COLOUR[:1, :1], (14, 12)), np.broadcast_to(COLOUR[0, 0], (14, 12, 3))
    )


class LikeAnArray:
    """What PyTorch's tensors are: an iterable of its own kind, without an end."""

    shape = (9, 7, 3)

    def __iter__(self):
        return iter([LikeAnArray()])


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        (LikeAnArray(), 'a LikeAnArray is not an image; give numpy arrays'),
        ('', 'the path of an image is empty'),
        ('a\0b', 'cannot be read: .*null'),
        ('a' * 5000, 'cannot be read: File name too long'),
    ],
)
def test_what_is_no_array_and_no_path_is_one_sentence(given, words):
    with pytest.raises(DataError, match=words):
        read(given)


def test_paths_that_lead_nowhere_are_told_before_anything_is_read(tmp_path):
    (tmp_path / 'b.png').write_bytes(b'')
    assert find_files([tmp_path / 'b.png', str(tmp_path)]) == [tmp_path / 'b.png'] * 2
    for path, words in (
        ('none', 'none does not exist'),
        ('a' * 5000, 'File name too long'),
        ('a\0b', 'null'),
    ):
        with pytest.raises(DataError, match=words):
            find_files([tmp_path, path])


def test_links_to_folders_are_followed_and_none_twice(tmp_path):
    for place in ('outside', 'photos/a', 'photos/b'):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / 'one.png').write_bytes(png(COLOUR))
    (tmp_path / 'photos' / 'b' / 'up').symlink_to(tmp_path / 'photos')
    (tmp_path / 'photos' / 'c').symlink_to(tmp_path / 'outside')
    (tmp_path / 'photos' / 'd').symlink_to(tmp_path / 'photos' / 'a')
    names = [item.name for item in items(tmp_path / 'photos')]
    assert names == [str(tmp_path / 'photos' / name / 'one.png') for name in 'abc']


def test_a_link_to_nowhere_is_told_and_a_pipe_is_no_image(tmp_path):
    (tmp_path / 'a.png').write_bytes(png(COLOUR))
    os.mkfifo(tmp_path / 'b.png')
    (tmp_path / 'c.png').symlink_to(tmp_path / 'none.png')
    first, second = items(tmp_path)
    assert first.load().shape == COLOUR.shape
    with pytest.raises(DataError, match=r'c\.png cannot be read: No such file'):
        second.load()


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    """Not left out silently; root may read all, and so the system is asked in its place."""
    (tmp_path / 'open').mkdir()
    (tmp_path / 'shut').mkdir()
    (tmp_path / 'open' / 'a.png').write_bytes(png(COLOUR))
    original = os.scandir

    def denied(path):
        if os.path.basename(path) == 'shut':
            raise PermissionError(13, 'Permission denied', path)
        return original(path)

    monkeypatch.setattr(os, 'scandir', denied)
    with pytest.raises(DataError, match=r'shut cannot be read: Permission denied'):
        list(items(tmp_path))


def test_for_one_channel_all_become_grey(tmp_path):
    wanted = np.round(COLOUR @ np.array([0.299, 0.587, 0.114]))[..., None]
    (tmp_path / 'a.png').write_bytes(png(COLOUR))
    given = [
        COLOUR,
        np.dstack([COLOUR, GREY]),
        COLOUR.astype(np.uint16) * 257,
        png(COLOUR),
        tmp_path / 'a.png',
    ]
    for image in (item.load() for item in items(given, 1)):
        assert np.abs(image - wanted).max() <= 1  # OpenCV rounds in 14 bits
        np.testing.assert_array_equal(image, cv2.cvtColor(COLOUR, cv2.COLOR_RGB2GRAY)[..., None])
    for item in items([GREY, GREY[..., None], png(GREY)], 1):
        np.testing.assert_array_equal(item.load(), GREY[..., None])
    assert resized(GREY[..., None], (4, 5)).shape == (4, 5, 1)


def test_an_item_is_taken_as_it_is():
    given = Item('mine', lambda: COLOUR)
    assert list(items([given, given])) == [given, given]


def test_nearest_is_pillows_pixel_for_pixel():
    """So is Keras's load_img(target_size=...); OpenCV's differs, and until OpenCV 5 INTER_NEAREST_EXACT does, too."""
    rng, differs = np.random.default_rng(5), False
    for _ in range(60):
        height, width, new_height, new_width = map(int, rng.integers(1, 400, 4))
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        wanted = np.asarray(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.NEAREST))
        np.testing.assert_array_equal(INTERPOLATIONS['nearest'](image, (new_height, new_width)), wanted)
        other = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_NEAREST)
        differs |= bool(np.any(other != wanted))
    assert differs
