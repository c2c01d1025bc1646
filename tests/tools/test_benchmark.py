from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import recognition.bench.data
from recognition.cli import run
from recognition.bench.rounds import interleaved

PROGRAM = runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'benchmark.py'))


@pytest.fixture
def suite(monkeypatch):
    def measure(rounds, *, told):
        return interleaved({'a': lambda: {'images/s': 4.0}}, rounds, told=told)

    monkeypatch.setattr(recognition.bench.data, 'measure', measure)


def ended(capsys, *argv):
    with pytest.raises(SystemExit) as leaving:
        run(lambda: PROGRAM['main'](list(map(str, argv))))
    said = capsys.readouterr()
    return leaving.value.code, said.out, said.err


def test_the_table_stands_below_the_machine(suite, capsys, tmp_path):
    status, out, _ = ended(capsys, 'data', '--rounds', 2, '--json', tmp_path / 'data.json')
    assert not status
    machine, *table = out.splitlines()
    assert 'mxnet 1.9.1' in machine
    assert table[-1] == '| a | 4 | 1.00 |'
    held = json.loads((tmp_path / 'data.json').read_text())
    assert held['rows'][0]['rounds'] == [{'images/s': 4.0}] * 2


def test_mistakes_are_one_sentence(suite, capsys):
    status, _, err = ended(capsys, 'data', '--rounds', 0)
    assert (status, err.count('\n')) == (1, 1)
    assert 'rounds=0 must be at least 1' in err
    assert ended(capsys, 'nothing')[0] == 2


def test_every_suite_has_its_file():
    for name in PROGRAM['SUITES']:
        assert callable(__import__(f'recognition.bench.{name}', fromlist=['measure']).measure)
