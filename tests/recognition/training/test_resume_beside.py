"""A run resumes from its state, whatever lies beside it: a checkpoint of another moment, a damaged one, or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.errors import CheckpointError
from recognition.train import train
from recognition.utils.run_paths import (
    best_prefix,
    environment_path,
    history_path,
    params_path,
    state_path,
)
from tests.helpers.training import config, files, refused


def test_a_run_killed_between_its_first_network_and_state_resumes_from_the_beginning(
    folder, tmp_path, caplog
):
    prefix = tmp_path / 'model'
    train(config(folder, max_steps=2), prefix=prefix, verify=False)
    whole = files(prefix)['model-0001.params']
    state_path(prefix, 1).unlink()
    record = environment_path(prefix)
    starts = json.loads(record.read_text())
    refused(
        CheckpointError,
        'no training state',
        lambda: train(config(folder), prefix=prefix, resume=True),
        prefix,
    )
    del starts[-1]['ended']  # as the record of a killed run is
    record.write_text(json.dumps(starts))
    best, history = params_path(best_prefix(prefix), 0), history_path(prefix)
    steps = history.read_text()
    for path, content in ((best, 'kept'), (history, steps + '{"step": 9, "epoch": 2}\n'), (history, '')):
        path.write_text(content)
        refused(
            CheckpointError,
            'no training state',
            lambda: train(config(folder), prefix=prefix, resume=True),
            prefix,
        )
        best.unlink(missing_ok=True)
    history.write_text(steps)
    assert train(config(folder, max_steps=2), prefix=prefix, resume=True, verify=False).steps == 2
    assert 'it starts from the beginning' in caplog.text
    assert files(prefix)['model-0001.params'] == whole


@pytest.mark.parametrize('ema', [0.0, 0.9])
def test_a_checkpoint_that_does_not_agree_with_its_state_is_told(folder, tmp_path, caplog, ema):
    prefix = tmp_path / 'model'

    def resume(steps):
        caplog.clear()
        cfg = config(folder, max_steps=steps, ema=ema)
        return train(cfg, prefix=prefix, resume=True, verify=False)

    train(config(folder, max_steps=2, ema=ema), prefix=prefix, verify=False)
    old = state_path(prefix, 1).read_bytes()
    resume(3)
    assert 'agree' not in caplog.text
    whole = files(prefix)['model-0001.params']
    state_path(prefix, 1).write_bytes(old)
    resume(3)
    assert f'{params_path(prefix, 1)} does not agree with {state_path(prefix, 1)} in ' in caplog.text
    assert files(prefix)['model-0001.params'] == whole
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    params_path(prefix, 1).write_bytes(flipped)
    resume(4)
    assert 'model-0001.params is damaged: its sum is not the one in' in caplog.text
    assert 'the run resumes from them' in caplog.text


def test_a_run_that_is_done_writes_its_network_again_where_it_is_missing_or_damaged(folder, tmp_path):
    prefix = tmp_path / 'model'
    cfg = config(folder, max_steps=2)
    train(cfg, prefix=prefix, verify=False)
    whole = files(prefix)
    for damage in (Path.unlink, lambda path: path.write_bytes(b'cut')):
        damage(params_path(prefix, 1))
        train(cfg, prefix=prefix, resume=True, verify=False)
        assert files(prefix)['model-0001.params'] == whole['model-0001.params']
