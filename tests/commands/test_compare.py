"""Pairs of faces from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.commands.compare import main
from recognition.verification.lfw import normalise
from tests.helpers.small_network import SHAPE

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    files = []
    for number in range(3):
        files.append(str(tmp_path / f'{number}.png'))
        cv2.imwrite(files[-1], rng.integers(0, 256, SHAPE, dtype=np.uint8))
    return files


def expected(small, files):
    images = np.stack([cv2.imread(file)[:, :, ::-1] for file in files])
    return normalise(small.values.embed(images) + small.values.embed(images[:, :, ::-1]))


def test_each_pair_has_its_cosine_and_distance(small, photos, capsys):
    assert not main([*photos, '--model', small.onnx, '--json', '--threshold', '1.9'])
    pairs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = expected(small, photos)
    for pair, (first, second) in zip(pairs, [(0, 1), (0, 2), (1, 2)]):
        assert pair['images'] == [photos[first], photos[second]]
        assert pair['cosine'] == pytest.approx(rows[first] @ rows[second], abs=1e-5)
        assert pair['distance'] == pytest.approx(2 - 2 * rows[first] @ rows[second], abs=1e-5)
        assert pair['same'] == (pair['distance'] < 1.9)
    assert len(pairs) == 3


def test_the_verdict_is_that_of_the_threshold(small, photos, capsys):
    command = [photos[0], photos[1], '--model', small.onnx]
    first, second = expected(small, photos[:2])
    distance = 2 - 2 * first @ second
    for threshold, verdict in ((distance + 0.01, 'same person'), (distance - 0.01, 'different people')):
        assert not main([*command, '--threshold', str(threshold)])
        assert f'squared distance {distance:.4f}  {verdict}  {photos[0]}' in capsys.readouterr().out
    assert not main(command)
    shown = capsys.readouterr().out
    assert 'same' not in shown
    assert 'different' not in shown


def test_an_image_is_the_same_as_itself(small, photos, capsys):
    assert not main([photos[0], photos[0], '--model', small.onnx, '--json'])
    pair = json.loads(capsys.readouterr().out)
    assert (pair['cosine'], pair['distance']) == (pytest.approx(1), pytest.approx(0, abs=1e-6))
    assert 'same' not in pair


def test_mistakes_are_one_sentence(small, photos, tmp_path):
    with pytest.raises(ConfigError, match='alone cannot be compared'):
        main([photos[0], '--model', small.onnx])
    for threshold in ('-1', '4.5', 'nan'):
        with pytest.raises(ConfigError, match='must be a squared distance of unit vectors'):
            main([*photos, '--model', small.onnx, f'--threshold={threshold}'])
    with pytest.raises(DataError, match=r'none\.jpg does not exist'):  # before a network is looked for
        main([photos[0], str(tmp_path / 'none.jpg'), '--model', 'none.onnx'])


def test_a_folder_stands_for_its_images(small, photos, tmp_path, capsys):
    assert not main([str(tmp_path), '--model', small.onnx, '--json'])
    pairs = [json.loads(line)['images'] for line in capsys.readouterr().out.splitlines()]
    assert pairs == [[photos[0], photos[1]], [photos[0], photos[2]], [photos[1], photos[2]]]
