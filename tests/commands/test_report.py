"""The program that writes a run's report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from config import resolve
from config.errors import ConfigError
from recognition.commands.report import main

ROOT = Path(__file__).parents[2]


def test_a_report_is_written_where_it_is_asked_for_and_not_over_another(tmp_path, capsys):
    start = {'started': '2026-01-01', 'until': '2026-01-02', 'ended': 'all steps done'}
    (tmp_path / 'model-config.json').write_text(json.dumps(resolve('r18', 'orl', 'cosface')))
    (tmp_path / 'model-environment.json').write_text(json.dumps([start]))
    (tmp_path / 'model-history.jsonl').write_text('')
    for words, name in (([], 'model-report.html'), (['-o', str(tmp_path / 'other.html')], 'other.html')):
        main([str(tmp_path / 'model'), *words])
        assert capsys.readouterr().out == f'{tmp_path / name}\n'
        with pytest.raises(ConfigError, match=f'{name} already exists'):
            main([str(tmp_path / 'model'), *words])
        main([str(tmp_path / 'model'), *words, '--overwrite'])
        capsys.readouterr()
        assert 'cosface' in (tmp_path / name).read_text()


def test_a_prefix_without_a_run_is_one_sentence(tmp_path):
    command = [sys.executable, str(ROOT / 'tools' / 'report.py'), str(tmp_path / 'model')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode not in (0, -6, -11)
    assert 'model-config.json does not exist' in done.stderr
    assert 'Traceback' not in done.stderr
