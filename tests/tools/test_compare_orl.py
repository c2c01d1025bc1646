from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from recognition.cli import run
from config import DataError

PROGRAM = runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'compare_orl.py'))


def row(network, loss, seed, accuracy):
    return {'network': network, 'loss': loss, 'seed': seed, 'accuracy': accuracy}


def ended(capsys, *argv):
    with pytest.raises(SystemExit) as leaving:
        run(lambda: PROGRAM['main'](list(map(str, argv))))
    said = capsys.readouterr()
    return leaving.value.code, said.out, said.err


@pytest.fixture
def finished(tmp_path):
    rows = [row('r18', 'softmax', 1, 0.9), row('r18', 'softmax', 2, 0.92), row('d121', 'cosface', 1, 0.8)]
    lines = [json.dumps(each) for each in rows]
    (tmp_path / 'results.jsonl').write_text('\n'.join(lines) + '\n{"network": "r1')  # killed while writing
    return tmp_path


def test_the_table_has_means_deviations_and_numbers_of_runs(finished, capsys):
    status, out, _ = ended(capsys, '--table', '--output', finished)
    assert not status
    assert out.splitlines() == [
        '| backbone | softmax | cosface |',
        '| --- | ---: | ---: |',
        '| `r18` | 91.0 ± 1.4 (2) |  |',
        '| `d121` |  | 80.0 (1) |',
    ]


def test_what_is_finished_is_not_trained_again(finished, capsys):
    argv = ['--networks', 'r18', '--losses', 'softmax', '--seeds', 2, '--output', finished]
    status, out, _ = ended(capsys, *argv)
    assert not status
    assert '91.0 ± 1.4 (2)' in out
    assert not (finished / 'data').exists()


def test_a_result_after_one_that_was_cut_short_has_its_own_line(finished):
    PROGRAM['_add'](finished / 'results.jsonl', row('xception', 'softmax', 1, 0.7))
    PROGRAM['_add'](finished / 'results.jsonl', row('xception', 'softmax', 2, 0.8))
    assert [each['accuracy'] for each in PROGRAM['results'](finished)] == [0.9, 0.92, 0.8, 0.7, 0.8]


def test_mistakes_are_one_sentence(tmp_path, capsys):
    status, _, err = ended(capsys, '--table', '--output', tmp_path)
    assert (status, err.count('\n')) == (1, 1)
    status, _, err = ended(capsys, '--jobs', 0)
    assert (status, err.count('\n')) == (1, 1)
    with pytest.raises(DataError):
        PROGRAM['table']([])


def test_every_cell_is_a_config_on_the_same_budget():
    from config import resolve

    for network, width in PROGRAM['BACKBONES'].items():
        for loss, own in PROGRAM['LOSSES'].items():
            cfg = resolve(network, 'orl', loss, **PROGRAM['BUDGET'], **own, net_multiplier=width)
            assert cfg.max_steps == PROGRAM['BUDGET']['max_steps']
