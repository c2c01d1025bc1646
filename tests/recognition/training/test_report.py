"""The report of a run, from the files that it left."""

from __future__ import annotations

import json
import re

import pytest

from config.errors import CheckpointError
from recognition.train import train
from recognition.training.report import write_run_report
from recognition.utils.run_paths import config_path, curves_path, environment_path, history_path
from tests.helpers.training import config, write_faces


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = write_faces(tmp_path_factory.mktemp('faces'))
    prefix = tmp_path_factory.mktemp('run') / 'model'
    train(config(folder, max_steps=6, val_targets=('val',), verbose=3), prefix=prefix)
    return prefix


def words(path):
    return re.sub(
        r'\s+', ' ', re.sub(r'<(style|img)[^>]*>(.*?</style>)?|<[^>]+>', ' ', path.read_text(), flags=re.S)
    )


def test_a_report_tells_what_was_run_and_what_it_came_to(run):
    report = write_run_report(run)
    assert report.name == 'model-report.html'
    text = words(report)
    figures = [json.loads(line) for line in history_path(run).read_text().splitlines()][-1]['verification'][
        'val'
    ]
    low, high = figures['accuracy_interval']
    assert f'{100 * figures["accuracy"]:.2f} ({100 * low:.2f} to {100 * high:.2f})' in text
    assert '6 of 6' in text
    assert 'No step was left out.' in text
    assert 'net_multiplier 0.0625' in text
    assert 'packages: mxnet' in text
    assert 'bn_mom' not in text  # as the presets have it
    assert '<img src="data:image/png;base64,' in report.read_text()
    assert curves_path(run).exists()


def copied(run, tmp_path, *, history=None, starts=None):
    prefix = tmp_path / 'copy'
    for path_of, change in ((config_path, None), (environment_path, starts), (history_path, history)):
        text = path_of(run).read_text()
        path_of(prefix).write_text(change(text) if change else text)
    return prefix


def test_a_run_that_was_killed_in_the_middle_of_a_line(run, tmp_path):
    def killed(text):
        return json.dumps([{'started': '2020-01-01'}])

    prefix = copied(run, tmp_path, history=lambda text: text[: text.index('"step": 5') + 20], starts=killed)
    text = words(write_run_report(prefix))
    assert '4 steps in 1 epochs' in text
    assert 'killed, or still running' in text


def test_steps_that_were_left_out(run, tmp_path):
    lines = ''.join(json.dumps({'step': i, 'epoch': 1, 'skipped': 'it <b> nan'}) + '\n' for i in range(1, 31))
    report = write_run_report(copied(run, tmp_path, history=lambda text: lines))
    assert '30 steps were left out, the first 20' in words(report)
    assert 'it &lt;b&gt; nan' in report.read_text()
    assert 'No step was done.' in words(report)


def test_where_there_is_no_run(tmp_path, run):
    with pytest.raises(CheckpointError, match=r'nothing-config\.json does not exist'):
        write_run_report(tmp_path / 'nothing')
    with pytest.raises(CheckpointError, match='is not what a run writes'):
        write_run_report(copied(run, tmp_path, starts=lambda text: '{}'))
