"""The history of a run, and the lines of its log."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.training.progress import History, Progress, duration, read_history
from recognition.training.trainer import StepResult


def test_records_are_lines_of_json(tmp_path):
    path = tmp_path / 'new' / 'history.jsonl'
    history = History(path)
    history.append({'step': 1, 'loss': 0.5})
    assert path.read_text() == '{"step": 1, "loss": 0.5}\n'
    history.close()


def test_a_run_that_goes_on_keeps_what_came_before_its_state(tmp_path):
    path = tmp_path / 'history.jsonl'
    path.write_text('{"step": 1}\n{"step": 2}\nnull\n{"step": 3}\n{"ste')
    history = History(path, steps=2)
    history.append({'step': 3})
    history.close()
    assert history.records == [{'step': 1}, {'step': 2}, {'step': 3}]
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3}\n'


def test_a_new_run_begins_a_new_history(tmp_path):
    path = tmp_path / 'history.jsonl'
    path.write_text('{"step": 1}\n')
    history = History(path)
    history.append({'step': 1, 'loss': 2})
    history.close()
    assert path.read_text() == '{"step": 1, "loss": 2}\n'


def test_a_run_without_a_record_leaves_no_file(tmp_path):
    History(tmp_path / 'new' / 'history.jsonl').close()
    assert list(tmp_path.iterdir()) == []


def test_the_history_of_another_run_stays_until_it_is_released(tmp_path):
    path = tmp_path / 'history.jsonl'
    path.write_text('old')
    history = History(path, held=True)
    history.append({'step': 1})
    assert path.read_text() == 'old'
    history.release()
    history.append({'step': 2})
    history.release()
    history.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_history_may_stay_in_memory():
    history = History(None, steps=3)
    history.append({'step': 4})
    history.close()
    assert history.records == [{'step': 4}]


def test_a_history_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    history = History(tmp_path / 'file' / 'history.jsonl')
    with pytest.raises(CheckpointError, match=r'history\.jsonl cannot be written'):
        history.append({'step': 1})


def test_the_log_has_a_line_every_so_many_steps(caplog):
    progress = Progress(10, done=3, per_epoch=4, frequent=2)
    with caplog.at_level(logging.INFO):
        for _ in range(7):
            result = StepResult(np.full(5, 1.5), np.array([0, 1, 2, 3, 4]), norm=1.0)
            progress.update(result, np.array([0, 1, 2, 3, 0]), 0.1)
    progress.close()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split('  ')[:2] for line in lines] == [
        ['step 4/10', 'epoch 1/3'],
        ['step 6/10', 'epoch 2/3'],
        ['step 8/10', 'epoch 2/3'],
        ['step 10/10', 'epoch 3/3'],
    ]
    assert 'loss 1.500  accuracy 80.0 %  lr 0.1' in lines[0]
    assert lines[-1].endswith('0:00 left')


@pytest.mark.parametrize(('seconds', 'text'), [(0, '0:00'), (59.6, '1:00'), (125, '2:05'), (3723, '1:02:03')])
def test_durations_read_as_clock_times(seconds, text):
    assert duration(seconds) == text


def test_damaged_lines_of_a_history_are_left_out(tmp_path):
    path = tmp_path / 'history.jsonl'
    whole = [{'step': 1, 'epoch': 1, 'loss': 2.5, 'accuracy': 1}, {'step': 2, 'epoch': 1, 'skipped': 'inf'}]
    damaged = [
        '{"step": "1"}',
        '{"step": 1, "loss": null}',
        '9' * 5000,
        '[' * 9000,
        f'{{"step": {2**70}}}',
        '{"epoch": 1}',
    ]
    lines = [json.dumps(whole[0]), *damaged, '{"step": 3, "skipped": "\xff"}', json.dumps(whole[1])]
    path.write_bytes('\n'.join(lines).encode('latin-1'))
    assert read_history(path) == whole
    assert History(path, steps=2).epoch_means(1) == {'loss': 2.5, 'accuracy': 1.0}
