"""A run that is killed, at any moment, and goes on ends where the run that was not killed ends, to the last bit."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.checkpoint.training_state import load_state, save_state
from recognition.train import train
from recognition.training.resume import library_versions
from recognition.utils import streamed_array as rows
from recognition.utils.run_paths import state_path
from tests.helpers.training import command, config, files, launch

import mxnet as mx

STEPS, QUICK = 40, 24  # five epochs, and three
# every part that has something to remember: momenta, counts, averages, added gradients, a clipped length
SETTINGS = {
    'sgd': {},
    'adamw': {
        'optimizer': 'adamw',
        'lr': 0.002,
        'ema': 0.9,
        'accumulate': 2,
        'clip_norm': 1.0,
        'per_batch_size': 3,
    },
    'frozen': {
        'freeze': ('conv0_|bn0_|stage1_',),
        'lr_mult': ('stage2_=0.1',),
        'ema': 0.9,
        'recompute': True,
    },
    'sampled': {'sample_rate': 0.7, 'per_batch_size': 3, 'loss_name': 'adaface'},
}

OTHER_LOSSES = {
    'adaface': {'loss_name': 'adaface'},
    'curricularface': {'loss_name': 'curricularface', 'loss_m2': 0.3},
    'magface': {'loss_name': 'magface', 'magface_la': 1.0},
    'centres': {'loss_centres': 2},
    'triplet': {'loss_name': 'triplet', 'data_sampler': 'balanced', 'images_per_identity': 3},
    'atriplet': {'loss_name': 'atriplet', 'data_sampler': 'balanced', 'images_per_identity': 2},
}


# Slow are those that remember nothing of their own: adaface what 'sampled' does, magface and centres nothing at all,
# and atriplet draws as 'triplet' does.
LIKE_OTHERS = ('adaface', 'magface', 'centres', 'atriplet')


@pytest.fixture(scope='module')
def unbroken(folder, tmp_path_factory):
    """Return a function: name of settings, steps -> the last state of the run that was not broken off."""
    states = {}

    def run(name, steps):
        if (name, steps) not in states:
            prefix = tmp_path_factory.mktemp(name) / 'model'
            settings = {**SETTINGS, **OTHER_LOSSES}[name]
            result = train(config(folder, max_steps=steps, end_epoch=9, **settings), prefix=prefix)
            states[name, steps] = load_state(prefix, result.epoch)
        return states[name, steps]

    return run


def same(one, other):
    assert sorted(one.arrays) == sorted(other.arrays)
    different = [key for key, value in one.arrays.items() if not np.array_equal(value, other.arrays[key])]
    assert different == []
    assert one.progress == other.progress


@pytest.mark.parametrize('more', [{'ema': 0.9}, SETTINGS['sampled']])
def test_arrays_that_are_left_in_the_file_make_no_difference(folder, tmp_path, more, monkeypatch):
    monkeypatch.setattr(rows, 'LARGE', 1)
    states = []
    for pieces in ((5,), (3, 5)):
        prefix = tmp_path / str(pieces) / 'model'
        for steps in pieces:
            cfg = config(folder, max_steps=steps, **more)
            train(cfg, prefix=prefix, resume=steps != pieces[0], verify=False)
        states.append(load_state(prefix, 1))
    assert isinstance(states[1].arrays['param:fc7_weight'], rows.Rows)
    same(*states)


def test_a_state_that_does_not_know_a_key_goes_on_with_its_default(folder, tmp_path):
    prefix = tmp_path / 'model'
    train(config(folder, max_steps=2), prefix=prefix, verify=False)
    state = load_state(prefix, 1)
    del state.config['sample_rate']
    save_state(prefix, 1, state)
    assert train(config(folder, max_steps=4), prefix=prefix, resume=True, verify=False).steps == 4
    save_state(prefix, 1, state)
    with pytest.raises(CheckpointError, match=r'sample_rate=1.0, and this run has 0.5'):
        train(config(folder, max_steps=4, sample_rate=0.5), prefix=prefix, resume=True, verify=False)


def test_a_penalty_on_all_kernels_resumes_when_all_are_named(folder, tmp_path):
    prefix, factors = tmp_path / 'model', {'kernel_l2_factors': ('.*=0.001',)}
    train(config(folder, max_steps=2, kernel_l2=0.001, **factors), prefix=prefix, verify=False)
    state = load_state(prefix, 1)
    del state.config['kernel_l2_factors']  # as it was when kernel_l2 was of dense kernels, too
    save_state(prefix, 1, state)
    with pytest.raises(CheckpointError, match=r"kernel_l2_factors=\['\.\*=0\.001'\], and this run has \[\]"):
        train(config(folder, max_steps=4, kernel_l2=0.001), prefix=prefix, resume=True, verify=False)
    cfg = config(folder, max_steps=4, kernel_l2=0.001, **factors)
    assert train(cfg, prefix=prefix, resume=True, verify=False).steps == 4


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=pytest.mark.slow if name in LIKE_OTHERS else [])
        for name in (*SETTINGS, *OTHER_LOSSES)
    ],
)
def test_a_run_in_pieces_equals_one_in_one(folder, tmp_path, unbroken, name):
    prefix, settings = tmp_path / 'model', {**SETTINGS, **OTHER_LOSSES}[name]
    for number, steps in enumerate((5, 8, 9, QUICK)):
        cfg = config(folder, max_steps=steps, end_epoch=9, **settings)
        result = train(cfg, prefix=prefix, resume=number > 0, verify=False)
    same(load_state(prefix, result.epoch), unbroken(name, QUICK))
    losses = [record['loss'] for record in result.history]
    assert np.mean(losses[-8:]) < np.mean(losses[:8])


def kill_at(words, moment, delay):
    """Launch a training and kill it, workers and all, `delay` seconds after `moment()`; False if it ends before."""
    process = launch(words)
    while not moment():
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read()
            return False
        time.sleep(0.0005)
    time.sleep(delay)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def steps_written(prefix):
    """Return how many lines the history of a run has."""
    history = Path(f'{prefix}-history.jsonl')
    return len(history.read_bytes().splitlines()) if history.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('during', ['a step', 'a write'])
@pytest.mark.parametrize('name', sorted(SETTINGS))
def test_a_killed_run_ends_as_the_one_that_was_not(folder, tmp_path, unbroken, name, during, seed):
    draw = random.Random(f'{name} {during} {seed}')
    prefix = tmp_path / 'model'
    words = [*command(folder, prefix, max_steps=STEPS, end_epoch=9, **SETTINGS[name]), '--no-verify']

    def go_on():
        return [*words, '--resume' if list(tmp_path.glob('*.state')) else '--overwrite']

    killed = 0
    for _ in range(3):
        target = steps_written(prefix) % STEPS + draw.randrange(1, 12)
        if during == 'a step':
            killed += kill_at(
                go_on(), lambda target=target: steps_written(prefix) >= target, draw.uniform(0, 0.01)
            )
        else:
            killed += kill_at(go_on(), lambda: list(tmp_path.glob('.model-*.tmp')), draw.uniform(0, 0.004))
    assert killed
    process = launch(go_on())
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert not list(tmp_path.glob('.*.tmp'))
    epoch = max(int(path.name[6:10]) for path in tmp_path.glob('*.state'))
    same(load_state(prefix, epoch), unbroken(name, STEPS))


def test_a_damaged_last_state_falls_back_to_the_one_before(folder, tmp_path, unbroken, caplog):
    prefix = tmp_path / 'model'
    train(config(folder, max_steps=16, end_epoch=9), prefix=prefix, verify=False)
    newest = state_path(prefix, 2)
    content = bytearray(newest.read_bytes())
    content[content.index(np.asarray(load_state(prefix, 2).arrays['param:fc7_weight']).tobytes()) + 5] ^= 1
    newest.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING):
        result = train(config(folder, max_steps=QUICK, end_epoch=9), prefix=prefix, resume=True, verify=False)
    assert 'model-0002.state is damaged' in caplog.text
    assert 'going back to the state of epoch 1' in caplog.text
    same(load_state(prefix, result.epoch), unbroken('sgd', QUICK))


@pytest.mark.parametrize(
    ('changes', 'theirs', 'ours'),
    [
        ({}, '', ''),
        ({'numpy': '1.2'}, 'numpy 1.2', f'numpy {np.__version__}'),
        (
            {'mxnet': '1.8', 'OpenCV': '4.1'},
            'mxnet 1.8 and OpenCV 4.1',
            f'mxnet {mx.__version__} and OpenCV {cv2.__version__}',
        ),
        (None, '', ''),
    ],
)
def test_other_versions_are_named(folder, tmp_path, caplog, changes, theirs, ours):
    prefix = tmp_path / 'model'
    train(config(folder, max_steps=2), prefix=prefix, verify=False)
    state = load_state(prefix, 1)
    assert set(state.versions) == {'mxnet', 'numpy', 'OpenCV'}
    state.versions = {} if changes is None else {**state.versions, **changes}  # older states have none
    save_state(prefix, 1, state)
    with caplog.at_level(logging.WARNING):
        train(config(folder, max_steps=3), prefix=prefix, resume=True, verify=False)
    told = [line for line in caplog.messages if 'was trained with' in line]
    start = f'{state_path(prefix, 1)} was trained with {theirs}, and this run has {ours}; '
    assert [line.startswith(start) for line in told] == ([True] if theirs else [])
    assert load_state(prefix, 1).versions == library_versions()


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'optimizer': 'nag'}, "optimizer='sgd', and this run has 'nag'"),
        ({'accumulate': 2}, 'accumulate=1, and this run has 2'),
        ({'ema': 0.9}, r"does not fit this run's moving average \(ema\): it lacks ema:"),
    ],
)
def test_a_run_with_other_settings_does_not_go_on(folder, tmp_path, settings, words):
    prefix = tmp_path / 'model'
    train(config(folder, max_steps=2), prefix=prefix, verify=False)
    before = files(prefix)
    with pytest.raises(CheckpointError, match=words):
        train(config(folder, max_steps=4, **settings), prefix=prefix, resume=True, verify=False)
    assert files(prefix) == before
