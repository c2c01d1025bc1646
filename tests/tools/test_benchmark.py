from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from pathlib import Path

import pytest

import tools.bench.data
import tools.bench.train
from recognition.cli import run
from recognition.utils.packages import install_command
from tools.bench import contenders
from tools.bench.rounds import interleaved

ROOT = Path(__file__).parents[2]
PROGRAM = vars(import_module('tools.bench.__main__'))


@pytest.fixture
def suite(monkeypatch):
    def measure(rounds, *, told):
        return interleaved({'a': lambda: {'images/s': 4.0}}, rounds, told=told)

    monkeypatch.setattr(tools.bench.data, 'measure', measure)


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
    assert held['settings'] == {'rounds': 2}


def test_the_table_goes_into_a_document(suite, capsys, tmp_path):
    path = tmp_path / 'benchmarks.md'
    path.write_text('# Benchmarks\n\n## startup\n\nas it was\n')
    assert not ended(capsys, 'data', '--rounds', 1, '--markdown', path)[0]
    text = path.read_text()
    assert '| a | 4 | 1.00 |\n\n## startup\n\nas it was\n' in text
    assert 'rounds 1.' in text
    assert not re.search(r'\b20\d\d-\d\d-\d\d\b', text)  # it says what was measured, not when


def test_mistakes_are_one_sentence(suite, capsys):
    status, _, err = ended(capsys, 'data', '--rounds', 0)
    assert (status, err.count('\n')) == (1, 1)
    assert 'rounds=0 must be at least 1' in err
    assert ended(capsys, 'nothing')[0] == 2
    assert ended(capsys, 'data', '--against', 'torch')[0] == 2  # it has no such option


@pytest.mark.parametrize(
    ('argv', 'words'),
    [
        (['embed', '--against', 'plain,tensorflow'], "against='tensorflow' is not one of plain, onnxruntime"),
        (['train', '--against', 'ncnn'], "against='ncnn' is not one of plain, torch"),
        (['embed', '--networks', 'r19', '--against', 'plain'], "'r19' is not a network preset"),
        (['train', '--batch', '0'], 'batch=0 must be at least 1'),
        (['embed', '--threads', '-1'], 'threads=-1 must be at least 1'),
    ],
)
def test_mistakes_in_options_are_one_sentence(capsys, argv, words):
    status, _, err = ended(capsys, *argv)
    assert (status, err.count('\n')) == (1, 1)
    assert words in err


def test_what_is_named_and_not_installed_is_told_with_the_line_that_installs_it(capsys, monkeypatch):
    monkeypatch.setattr(contenders, 'find_spec', lambda name: None)
    status, _, err = ended(capsys, 'train', '--against', 'torch')
    assert (status, err.count('\n')) == (1, 1)
    assert f'torch needs torch, which is not installed: {install_command("torch")}' in err


def test_options_reach_the_suite(capsys, monkeypatch, tmp_path):
    given = {}

    def measure(rounds, *, networks=('r18',), batch=8, threads=None, against=None, told=print):
        given.update(networks=networks, batch=batch, threads=threads, against=against)
        return interleaved({'a': lambda: {'images/s': 4.0}}, rounds, told=told)

    monkeypatch.setattr(tools.bench.train, 'measure', measure)
    options = ['--networks', 'r50,y1', '--batch', 2, '--rounds', 1, '--json', tmp_path / 'train.json']
    assert not ended(capsys, 'train', *options)[0]
    assert given == {'networks': ['r50', 'y1'], 'batch': 2, 'threads': None, 'against': None}
    settings = json.loads((tmp_path / 'train.json').read_text())['settings']
    assert settings['networks'] == ['r50', 'y1']
    assert (settings['threads'], settings['against']) == (
        'one for each core',
        'plain,torch where installed',
    )


def test_every_suite_has_its_file_and_the_options_it_is_said_to_have():
    for name, suite in PROGRAM['SUITES'].items():
        module = import_module(f'tools.bench.{name}')
        for option, default in suite.options.items():
            own = inspect.signature(module.measure).parameters[option].default
            if own is not None:
                assert default == (','.join(own) if isinstance(own, tuple) else str(own))


def test_make_bench_runs_suites_that_there_are():
    (line,) = re.findall(r'for suite in (.*); do', (ROOT / 'Makefile').read_text())
    assert set(line.split()) == set(PROGRAM['SUITES']) - {'classifier'}  # which takes 15 GB
