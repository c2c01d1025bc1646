"""The plot_net program, run as its users run it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from config import FaceSymbolsError
from recognition import drawing

import mxnet as mx

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / 'tools' / 'plot_net.py'
main = runpy.run_path(str(PROGRAM))['main']


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def network(tmp_path):
    x = mx.sym.Convolution(mx.sym.var('the input'), num_filter=4, kernel=(3, 3), name='my: conv')
    symbol = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=3, name='fc')
    symbol.save(str(tmp_path / 'mine-symbol.json'))
    return tmp_path / 'mine-symbol.json'


def test_a_preset_becomes_a_picture(tmp_path):
    command = [sys.executable, '-m', 'tools.plot_net', 'd121', '-o', str(tmp_path / 'd121.svg')]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f'{tmp_path / "d121.svg"}\n', '')
    svg = (tmp_path / 'd121.svg').read_text(encoding='utf-8')
    for text in ('dense layer × 24', '256 → 1024 channels', '32,639,991 parameters', '1024×7×7'):
        assert text in svg.replace('&#160;', ' ')


def test_a_saved_symbol_of_another_network(tmp_path, network, capsys):
    main([str(network), '--shape', '2,3,10,10', '--level', 'operators', '--title', 'T&T'])
    assert capsys.readouterr() == ('mine.svg\n', '')
    svg = (tmp_path / 'mine.svg').read_text(encoding='utf-8')
    assert 'T&amp;T' in svg
    assert '2×4×8×8' in svg


def test_config_keys_can_be_set(tmp_path, capsys):
    main(['r18', '-o', 'a.dot', '--set', 'net_multiplier=0.25', '--set', 'net_output=GAP'])
    assert capsys.readouterr() == ('a.dot\n', '')
    assert 'global average pool' in (tmp_path / 'a.dot').read_text(encoding='utf-8')


def test_no_fold_draws_every_unit(tmp_path):
    main(['r50', '-o', 'folded.dot'])
    main(['r50', '-o', 'unfolded.dot', '--no-fold'])
    folded, unfolded = ((tmp_path / f'{name}.dot').read_text('utf-8') for name in ('folded', 'unfolded'))
    assert folded.count('<B>stage3_unit') == 2
    assert unfolded.count('<B>stage3_unit') == 15


def test_no_engine_leaves_the_dot_file_and_a_sentence(tmp_path, network, capsys, monkeypatch):
    monkeypatch.setattr(drawing, 'ENGINES', ())
    assert main([str(network), '-o', 'a.svg']) is None
    out, err = capsys.readouterr()
    assert out == 'a.dot\n'
    assert err.startswith('no layout engine was found, so there is no a.svg: pip install')
    assert [file.name for file in tmp_path.glob('a.*')] == ['a.dot']


def test_a_mistake_has_status_1_and_no_traceback(tmp_path):
    command = [sys.executable, '-m', 'tools.plot_net', 'd12', '-o', str(tmp_path / 'a.svg')]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: 'd12' is not a network preset")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ('arguments', 'parts'),
    [
        (['d12', '-o', 'a.svg'], ["'d12'"]),
        (['r18', '-o', 'a.pdf'], ['a.pdf', '.svg']),
        (['r18', '--level', 'layers'], ['layers', 'operators']),
        (['r18', '--shape', 'big'], ['--shape', 'big']),
        (['r18', '--set', 'net_output'], ['KEY=VALUE']),
        (['missing-symbol.json'], ['missing-symbol.json']),
        (['damaged-symbol.json'], ['damaged-symbol.json']),
        (['mine-symbol.json', '--shape', 'dat=1,3,10,10'], ["'dat'"]),
        (['mine-symbol.json', '--set', 'net_act=relu'], ['net_act']),
        (['mine-symbol.json', '-o', 'mine-symbol.json/a.dot'], ['cannot be written']),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, network, arguments, parts):
    (tmp_path / 'damaged-symbol.json').write_text(network.read_text()[:-40])
    before = sorted(file.name for file in tmp_path.iterdir())
    with pytest.raises(FaceSymbolsError) as caught:
        main(arguments)
    assert '\n' not in str(caught.value)
    assert all(part in str(caught.value) for part in parts)
    assert sorted(file.name for file in tmp_path.iterdir()) == before
