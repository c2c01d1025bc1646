"""Rewriting a checkpoint from the command line: what is written and said, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError
from recognition.checkpoint.network import load_network
from recognition.commands.optimize import main
from recognition.data.images import channels_first
from recognition.utils.run_paths import params_path, symbol_path
from tests.helpers.narrow import SMALL_SHAPE, small

import mxnet as mx

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'optimize_net.py'
SIZE = ['--image-size', '32,32']


@pytest.fixture
def saved(save):
    return save(small('y1', image_shape=SMALL_SHAPE))


def embed(prefix):
    images = np.random.RandomState(5).randint(0, 256, (3, *SMALL_SHAPE)).astype(np.uint8)
    net = load_network(prefix, 1, image_shape=SMALL_SHAPE)
    return net(mx.nd.array(channels_first(images))).asnumpy()


@pytest.mark.parametrize('more', [[], ['--portable']])
def test_the_new_checkpoint_gives_the_same(saved, tmp_path, capsys, more):
    output = tmp_path / 'new' / 'fast'
    assert not main(['--model', f'{saved},1', '--output', str(output), *SIZE, *more])
    wanted = embed(saved)
    assert np.abs(embed(output) - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert ('"act_type": "prelu"' in symbol_path(output).read_text()) == bool(more)
    first, second, *check = capsys.readouterr().out.splitlines()
    assert first == f'written     {symbol_path(output)}, {params_path(output, 1)}'
    assert re.fullmatch(r'operators   \d+, where there were \d+', second)
    assert 'random pixels and 4 photographs of faces' in check[-1]


def test_faces_of_a_folder_are_compared_on(saved, tmp_path, capsys):
    (tmp_path / 'faces').mkdir()
    cv2.imwrite(str(tmp_path / 'faces' / '1.png'), np.full((50, 40, 3), 90, np.uint8))
    words = ['--model', f'{saved},1', '--output', str(tmp_path / 'fast'), '--faces', str(tmp_path / 'faces')]
    assert not main([*words, *SIZE])
    assert f'1 faces from {tmp_path / "faces"}' in capsys.readouterr().out


def test_files_that_are_there_stay_unless_overwrite_is_said(saved, tmp_path):
    words = ['--model', f'{saved},1', '--output', str(tmp_path / 'fast'), *SIZE]
    for path in (symbol_path(tmp_path / 'fast'), params_path(tmp_path / 'fast', 1)):
        path.write_text('mine')
        with pytest.raises(ConfigError, match=rf'{path.name} already exists; .*--overwrite'):
            main(words)
        assert path.read_text() == 'mine'
        path.unlink()
    symbol_path(tmp_path / 'fast').write_text('mine')
    assert not main([*words, '--overwrite'])
    assert embed(tmp_path / 'fast').shape == (3, 24)


@pytest.mark.parametrize(
    ('output', 'more', 'error', 'sentence'),
    [
        (
            'model',
            ['--overwrite'],
            ConfigError,
            r'model-symbol\.json is read as an input',
        ),
        ('model', [], ConfigError, r'model-symbol\.json is read as an input'),
        ('fast,1', [], ConfigError, 'fast,1 is not a PREFIX, which is fast; the epoch stays 1'),
        ('fast-0001.params', [], ConfigError, 'is not a PREFIX, which is fast; '),
        ('fast-symbol.json', [], ConfigError, 'is not a PREFIX, which is fast; '),
        ('fast/', [], ConfigError, 'must end with what the names of the checkpoints begin with'),
        ('fast', ['--image-size', '112,112'], CheckpointError, 'takes no images of 112x112x3'),
        ('fast', ['--image-size', '32'], ConfigError, '--image-size'),
        ('fast', ['--model', 'model'], CheckpointError, 'PREFIX,EPOCH'),
        ('fast', ['--model', 'none,3'], CheckpointError, r'none-symbol\.json does not exist'),
    ],
)
def test_mistakes(saved, output, more, error, sentence, monkeypatch):
    monkeypatch.chdir(saved.parent)
    before = sorted(os.listdir())
    with pytest.raises(error, match=sentence):
        main(['--model', 'model,1', '--output', output, *SIZE, *more])
    assert sorted(os.listdir()) == before


def test_the_process_says_one_sentence(saved, tmp_path):
    params_path(saved, 1).write_bytes(b'cut short')
    words = [sys.executable, str(TOOL), '--model', f'{saved},1', '--output', str(tmp_path / 'fast'), *SIZE]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr.startswith('error: ')
    assert len(done.stderr.splitlines()) == 1
    assert not symbol_path(tmp_path / 'fast').exists()
