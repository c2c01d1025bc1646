"""The config and environment of a run: of one that is done, resumed, killed, or fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from config.errors import CheckpointError, FaceSymbolsError
from recognition.checkpoint.run_files import RunRecord, read_json
from recognition.train import train
from recognition.training.progress import History
from recognition.utils.environment import environment, git_state
from recognition.utils.run_paths import config_path, environment_path, history_path
from tests.helpers.training import ROOT, command, config

import mxnet as mx


def test_what_a_run_is_known_by():
    found = environment(7, [mx.cpu(0)], 2)
    assert (found['seed'], found['devices'], found['workers']) == (7, ['cpu(0)'], 2)
    assert found['packages']['mxnet'] == mx.__version__
    assert found['packages']['numpy'] == np.__version__
    assert found['cores'] == os.cpu_count()
    assert json.loads(json.dumps(found)) == found


def test_the_state_of_a_git_tree(tmp_path):
    assert git_state(tmp_path) is None
    for words in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'one']):
        (tmp_path / 'file').write_text('one')
        subprocess.run(
            ['git', '-C', str(tmp_path), '-c', 'user.name=a', '-c', 'user.email=a@b', *words], check=True
        )
    clean = git_state(tmp_path)
    assert len(clean['commit']) == 40
    assert not clean['changed']
    (tmp_path / 'file').write_text('two')
    assert git_state(tmp_path) == {**clean, 'changed': True}


def test_a_run_and_one_that_goes_on(folder, tmp_path):
    prefix = tmp_path / 'model'
    train(config(folder, max_steps=3), prefix=prefix)
    train(config(folder, max_steps=5), prefix=prefix, resume=True)
    first, second = read_json(environment_path(prefix))
    assert [first['ended'], first['steps'], first['of']] == ['done', 3, 3]
    assert [second['ended'], second['steps'], second['of']] == ['done', 5, 5]
    assert first['started'] <= first['until'] <= second['started']
    assert read_json(config_path(prefix))['max_steps'] == 5
    steps = [json.loads(line)['step'] for line in history_path(prefix).read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5]


def test_an_error_is_how_a_run_ended(folder, tmp_path):
    prefix = tmp_path / 'model'
    with pytest.raises(FaceSymbolsError):
        train(config(folder, lr=1e30), prefix=prefix)
    (start,) = read_json(environment_path(prefix))
    assert start['ended'].startswith('the loss became nan')


def test_a_run_that_was_killed_has_no_end_and_its_lines_stand_once_when_it_goes_on(folder, tmp_path):
    prefix = tmp_path / 'run' / 'model'
    process = subprocess.Popen(command(folder, prefix, end_epoch=50), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while not (history_path(prefix).exists() and history_path(prefix).read_text().count('\n') > 10):
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (start,) = read_json(environment_path(prefix))
    assert 'ended' not in start
    train(config(folder, end_epoch=50, max_steps=40), prefix=prefix, resume=True)
    steps = [json.loads(line)['step'] for line in history_path(prefix).read_text().splitlines()]
    assert steps == list(range(1, 41))
    assert [each.get('ended') for each in read_json(environment_path(prefix))] == [None, 'done']


@pytest.mark.parametrize('content', ['{', '[1, 2', ''])
def test_a_list_of_starts_that_cannot_be_read_begins_anew(tmp_path, content, caplog):
    prefix = tmp_path / 'model'
    environment_path(prefix).write_text(content)
    with RunRecord(prefix, {}, {'seed': 1}, resumed=True) as record:
        record.begin()
    assert 'is damaged' in caplog.text
    assert [each['seed'] for each in read_json(environment_path(prefix))] == [1]


def test_the_files_of_another_run_are_held_until_released_and_none_is_written_before_the_first_step(tmp_path):
    prefix = tmp_path / 'model'
    with RunRecord(prefix, {}, {}):
        pass
    assert list(tmp_path.iterdir()) == []
    config_path(prefix).write_text('"old"')
    with RunRecord(prefix, {'new': 1}, {}, held=True) as record:
        record.begin()
        assert read_json(config_path(prefix)) == 'old'
        record.release()
        assert read_json(config_path(prefix)) == {'new': 1}


def test_files_that_are_missing_or_damaged(tmp_path):
    with pytest.raises(CheckpointError, match='does not exist'):
        read_json(tmp_path / 'x.json')
    (tmp_path / 'x.json').write_bytes(b'\xff\xfe{')
    with pytest.raises(CheckpointError, match='is not text in UTF-8'):
        read_json(tmp_path / 'x.json')


def test_a_line_of_the_history_that_finds_the_disk_full_is_one_sentence(tmp_path):
    history = History(tmp_path / 'history.jsonl')
    history.append({'step': 1})
    history._file.close()
    history._file = open('/dev/full', 'ab', buffering=0)  # noqa: SIM115
    with pytest.raises(CheckpointError, match=r'history\.jsonl cannot be written: No space left'):
        history.append({'step': 2})
