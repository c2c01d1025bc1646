"""Two trainings with one prefix: the second is refused, and a killed one gives way at once."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time

import pytest

from config.errors import ConfigError, FaceSymbolsError
from recognition.checkpoint.training_state import newest_state
from recognition.train import train
from recognition.utils.locks import locked
from recognition.utils.run_paths import config_path
from tests.helpers.jobs import run
from tests.helpers.training import command, config, launch, refused


def test_a_training_is_refused_while_another_one_has_the_prefix(folder, tmp_path):
    train(config(folder, max_steps=1), prefix=tmp_path / 'model')
    with locked(tmp_path / 'model'):
        for how in ('force', 'resume'):
            refused(
                ConfigError,
                f'model is in use by process {os.getpid()} on .* since .*; wait',
                lambda how=how: train(config(folder, max_steps=2), prefix=tmp_path / 'model', **{how: True}),
                tmp_path / 'model',
            )
        train(
            config(folder, max_steps=1, ckpt=0), prefix=tmp_path / 'model', force=True
        )  # which saves nothing
    with locked(tmp_path / 'model-best'):  # of a run with that prefix
        refused(
            ConfigError,
            f'model-best is in use by process {os.getpid()} on',
            lambda: train(config(folder, max_steps=2, best='val'), prefix=tmp_path / 'model', resume=True),
            tmp_path / 'model',
        )
    assert not (tmp_path / '.model.lock').exists()


@pytest.mark.slow
def test_a_killed_training_is_resumed_at_once_and_a_living_one_is_left_alone(folder, tmp_path):
    words = command(folder, tmp_path / 'model', end_epoch=5000, frequent=1, data_workers=2)
    first = launch(words)
    try:
        while not list(tmp_path.glob('*.state')):
            time.sleep(0.05)
        second = launch([*words, '--overwrite'])
        out, errors = second.communicate(timeout=60)
        assert (second.returncode, out) == (1, '')
        assert re.fullmatch(rf'error: \S+/model is in use by process {first.pid} on .*\n', errors)
    finally:
        first.kill()  # not those that decode its images
        first.communicate()
    again = launch([*words, '--resume', '--max-steps', '30'])
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert '.model.lock' not in os.listdir(tmp_path)


@pytest.mark.slow
def test_a_job_that_ended_before_its_first_state_resumes_from_the_beginning(folder, tmp_path):
    words = command(folder, tmp_path / 'model', per_batch_size=3, max_steps=2, data_workers=0)
    run(words, tmp_path / 'logs')
    for path in tmp_path.glob('model-*'):
        if path != config_path(tmp_path / 'model'):
            path.unlink()
    run([*words, '--resume'], tmp_path / 'logs')
    assert newest_state(tmp_path / 'model')[1].progress['step'] == 2


@pytest.mark.slow
def test_of_two_jobs_with_one_prefix_the_second_is_refused_and_the_first_is_whole(folder, tmp_path):
    words = command(folder, tmp_path / 'model', per_batch_size=3, end_epoch=5000, data_workers=0)
    job = [
        sys.executable,
        '-W',
        'ignore',
        '-m',
        'recognition',
        'launch',
        '-n',
        '2',
        '--logs',
        str(tmp_path / 'one'),
    ]
    first = launch([*job, '--', *words])
    while not (tmp_path / '.model.lock').exists():
        time.sleep(0.05)
    with pytest.raises(FaceSymbolsError, match=r'model is in use by process \d+ on') as caught:
        run([*words, '--overwrite'], tmp_path / 'two')
    assert 'so the job was ended' in str(caught.value)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    steps = [json.loads(line)['step'] for line in (tmp_path / 'model-history.jsonl').open()]
    assert steps == [*range(1, newest_state(tmp_path / 'model')[1].progress['step'] + 1)]
