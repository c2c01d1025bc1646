"""The examples run as a user runs them, on a small data set in InsightFace's layout."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from recognition.checkpoint.network import load_network, load_params
from recognition.data.writer import write_records

import mxnet as mx

ROOT = Path(__file__).resolve().parents[1]
PEOPLE, PHOTOS, SIDE = 4, 6, 32


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Four people, each a pattern of their own with noise."""
    folder, random = tmp_path_factory.mktemp('faces'), np.random.RandomState(0)
    patterns = random.randint(0, 256, (PEOPLE, 4, 4, 3)).astype(np.uint8)
    faces = [cv2.resize(pattern, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for pattern in patterns]
    noisy = (
        (np.clip(face + random.normal(0, 12, face.shape), 0, 255).astype(np.uint8), person)
        for person, face in enumerate(faces)
        for _ in range(PHOTOS)
    )
    encoded = ((cv2.imencode('.jpg', image)[1].tobytes(), person) for image, person in noisy)
    write_records(folder, encoded, None, (SIDE, SIDE, 3))
    return folder


def run_example(name, *words, cwd):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', ROOT / 'examples' / name, *map(str, words)],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def told(tmp_path, central_config, monkeypatch, capsys):
    """Return a function: runs an example in this process, which it ends with status 1, and returns its one line."""

    def run(name, *words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [name, *map(str, words)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / 'examples' / name), run_name='__main__')
        assert left.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


@pytest.mark.parametrize('loss', ['cosface', pytest.param('arcface', marks=pytest.mark.slow)])
def test_module_fit_trains_and_its_checkpoints_are_read(folder, tmp_path, loss):
    words = ['--network', 'y1', '--loss', loss, '--batch-size', 8, '--lr', 0.05, '--prefix', 'run/model']
    done = run_example('module_fit.py', folder, *words, '--steps', 4, '--epochs', 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    losses = [float(text) for text in re.findall(r'cross-entropy=(\S+)', done.stderr)]
    assert len(losses) == 4
    assert losses[-1] < 0.7 * losses[0]
    first, last = (load_params(tmp_path / 'run' / 'model', epoch)[0] for epoch in (1, 4))
    assert first.keys() == last.keys()
    assert first['fc7_weight'].shape == (PEOPLE, 128)
    still = [name for name in first if np.array_equal(first[name].asnumpy(), last[name].asnumpy())]
    assert still == []
    net = load_network(tmp_path / 'run' / 'model', 4, image_shape=(SIDE, SIDE, 3))
    embedding = net(mx.nd.random.uniform(0, 255, (3, 3, SIDE, SIDE))).asnumpy()
    assert embedding.shape == (3, 128)
    assert np.isfinite(embedding).all()


def test_softmax_is_one_of_products_with_a_bias(folder, tmp_path, told):
    words = ['--network', 'y1', '--loss', 'softmax', '--batch-size', 8, '--lr', 0.05, '--steps', 1]
    done = run_example('module_fit.py', folder, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    symbol, args, _ = mx.model.load_checkpoint(str(tmp_path / 'module'), 1)
    assert args['fc7_bias'].shape == (PEOPLE,)
    assert 'L2Normalization' not in symbol.tojson()
    again = told('module_fit.py', folder, *words)
    assert again == 'error: module-symbol.json already exists; choose another --prefix'


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--steps', '-1'], 'max_steps=-1 is not allowed'),
        (['--epochs', '0'], 'end_epoch=0 is not allowed'),
        (['--lr', 'nan'], 'lr=nan is not allowed'),
        (['--batch-size', 'x'], "per_batch_size='x' is not allowed"),
    ],
)
def test_mistakes_are_one_sentence(folder, told, words, message):
    assert told('module_fit.py', folder, *words).startswith(f'error: {message}')


def test_a_mistake_that_is_found_late_ends_the_process_with_one_sentence(folder, tmp_path):
    words = ['--network', 'y1', '--batch-size', '8', '--steps', '1', '--prefix', '/proc/x']
    done = run_example('module_fit.py', folder, *words, cwd=tmp_path)
    assert done.returncode == 1
    assert '/proc/x-0001.params cannot be written' in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr


def test_a_folder_without_faces_is_named_in_one_sentence(tmp_path, told):
    assert told('module_fit.py', 'nowhere').startswith('error: there is no folder nowhere')
    assert list(tmp_path.iterdir()) == []
