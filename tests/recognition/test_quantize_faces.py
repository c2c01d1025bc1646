"""Faces to calibrate on: taken evenly from a folder or a data set, made to fit, and nothing left out unsaid."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.data.dataset import FaceDataset
from recognition.data.orl import prepare_orl
from recognition.quantize import read_faces
from tests.helpers.faces import photographs

SIZE = (20, 16)


@pytest.fixture
def folder(tmp_path):
    """Ten images, the n-th of the grey value 20 n, in two folders and two sizes."""
    for number in range(10):
        path = tmp_path / 'faces' / f'{number // 5}' / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        size = SIZE if number % 2 else (40, 30)
        cv2.imwrite(str(path), np.full(size, 20 * number, np.uint8))
    return tmp_path / 'faces'


@pytest.mark.parametrize(
    ('count', 'taken'),
    [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (9, [0, 1, 2, 3, 4, 6, 7, 8, 9]), (10, range(10))],
)
def test_a_folders_images_are_taken_evenly(folder, count, taken):
    faces = read_faces(folder, SIZE, count)
    assert faces.dtype == np.uint8
    assert faces.shape == (count, *SIZE, 3)
    assert [(face == 20 * number).all() for face, number in zip(faces, taken)] == [True] * count


def test_where_there_are_fewer_all_are_taken(folder):
    assert len(read_faces(folder, SIZE, 256)) == 10


def test_a_data_set(tmp_path):
    prepare_orl(tmp_path, train_people=range(1, 3), verify_people=range(31, 33))
    assert (read_faces(tmp_path, (112, 112), 20) == photographs(range(1, 3), (112, 112))).all()
    faces = FaceDataset(tmp_path)
    assert (read_faces(str(tmp_path), (112, 112), 2)[1] == faces.read(19)[0]).all()
    assert read_faces(tmp_path, (32, 24), 5).shape == (5, 32, 24, 3)


def test_colours_are_red_green_blue(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((*SIZE, 3), (10, 20, 30), np.uint8))
    assert (read_faces(tmp_path, SIZE, 1) == (30, 20, 10)).all()


def test_mistakes_are_one_sentence(folder, tmp_path):
    with pytest.raises(ConfigError, match='0 faces are too few'):
        read_faces(folder, SIZE, 0)
    with pytest.raises(DataError, match=r'none is no folder'):
        read_faces(tmp_path / 'none', SIZE, 4)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='empty holds no images'):
        read_faces(tmp_path / 'empty', SIZE, 4)
    (tmp_path / 'empty' / 'property').write_text('2,112,112\n')
    with pytest.raises(DataError, match=r'train\.rec'):
        read_faces(tmp_path / 'empty', SIZE, 4)
    (folder / '0' / '0.png').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'0\.png holds 10 bytes that are no readable image'):
        read_faces(folder, SIZE, 4)
