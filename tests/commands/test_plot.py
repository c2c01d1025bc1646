"""The plot_net program, run as its users run it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import webbrowser
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from config import FaceSymbolsError, resolve
from recognition.commands.plot import main
from recognition.drawing import render as drawing
from recognition.drawing.dot import MARK
from symbols import get_symbol

import mxnet as mx

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / 'tools' / 'plot_net.py'


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


@pytest.mark.parametrize('name', sorted(path.stem for path in (ROOT / 'docs').glob('*.svg')))
def test_the_pictures_in_docs_are_what_is_drawn_today(tmp_path, name):
    main([name, '-o', 'net.svg'])
    drawn, kept = (words(path) for path in (tmp_path / 'net.svg', ROOT / 'docs' / f'{name}.svg'))
    assert drawn == kept, 'draw them anew: make docs'


def words(path):
    """Return the words of a picture, in no order: where they stand is up to the layout engine."""
    nodes = ElementTree.parse(path).iter('{http://www.w3.org/2000/svg}text')
    return sorted(' '.join(''.join(node.itertext()).split()) for node in nodes)


def test_a_saved_symbol_of_another_network(tmp_path, network, capsys):
    main([str(network), '--shape', '2,3,10,10', '--level', 'operators', '--title', 'T&T'])
    assert capsys.readouterr() == ('mine.svg\n', '')
    svg = (tmp_path / 'mine.svg').read_text(encoding='utf-8')
    assert 'T&amp;T' in svg
    assert '2×4×8×8' in svg


@pytest.mark.parametrize(('key', 'version'), [('attr', 10000), ('param', 800)])
def test_a_symbol_of_an_old_mxnet_is_drawn_as_one_of_today(tmp_path, key, version):
    graph = json.loads(get_symbol(resolve('r18')).tojson())
    for node in graph['nodes']:
        node[key] = node.pop('attrs', {})
    graph['attrs']['mxnet_version'] = ['int', version]
    (tmp_path / 'model-symbol.json').write_text(json.dumps(graph))
    main(['model-symbol.json', '-o', 'a.dot', '--title', ''])
    main(['r18', '-o', 'b.dot', '--title', ''])
    assert (tmp_path / 'a.dot').read_text('utf-8') == (tmp_path / 'b.dot').read_text('utf-8')


def test_config_keys_can_be_set(tmp_path, capsys):
    main(['r18', '-o', 'a.dot', '--config', 'net_multiplier=0.25', '--config', 'net_output=GAP'])
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


@pytest.mark.parametrize('suffix', ['pdf', 'png', 'svg', 'html'])
def test_every_format_is_written_as_what_it_is(tmp_path, network, suffix, capsys):
    main([str(network), '--shape', '1,3,10,10', '-o', f'a.{suffix}'])
    assert capsys.readouterr() == (f'a.{suffix}\n', '')
    begins = {'pdf': b'%PDF-', 'png': b'\x89PNG', 'svg': b'<?xml', 'html': b'<!DOCTYPE html>'}
    assert (tmp_path / f'a.{suffix}').read_bytes().startswith(begins[suffix])


@pytest.mark.parametrize('suffix', ['pdf', 'png', 'svg', 'html', 'dot'])
def test_a_title_that_is_no_text_is_drawn_without_what_is_none(network, suffix, capsys):
    main(
        [str(network), '--shape', '1,3,10,10', '-o', f'a.{suffix}', '--title', 'a\udcff\n"b" <i> \U0001f600']
    )
    assert capsys.readouterr() == (f'a.{suffix}\n', '')


def test_a_page_needs_no_engine(network, capsys, monkeypatch):
    monkeypatch.setattr(drawing, 'ENGINES', ())
    main([str(network), '--shape', '1,3,10,10', '-o', 'a.html'])
    assert capsys.readouterr() == ('a.html\n', '')


def page_network(path):
    return json.loads(re.search(r'id="network">(.*?)</script>', path.read_text('utf-8')).group(1))


def test_a_page_is_open_as_far_as_level_or_depth_say(tmp_path):
    main(['r18', '-o', 'a.html'])
    nothing = page_network(tmp_path / 'a.html')
    assert (nothing['open'], nothing['search']) == ([], '')
    main(['r18', '-o', 'a.html', '--level', 'operators', '--highlight', 'conv1$', '--overwrite'])
    everything = page_network(tmp_path / 'a.html')
    assert everything['search'] == 'conv1$'
    assert set(everything['open']) == set(everything['frames']) - {''}
    main(['r18', '-o', 'a.html', '--level', 'operators', '--depth', '1', '--overwrite'])
    opened = page_network(tmp_path / 'a.html')['open']
    assert [everything['nodes'][name]['kind'] for name in opened] == ['stage'] * 6


def test_depth_closes_what_is_nested_deeper(tmp_path):
    main(['r18', '-o', 'a.dot', '--depth', '1'])
    text = (tmp_path / 'a.dot').read_text('utf-8')
    assert text.count('<B>stage1_unit1</B>') == 1
    assert 'beside: Conv 1×1 stride 2, 64' in text
    assert 'shortcut' not in text


def test_highlight_marks_the_boxes_that_hold_a_match(tmp_path):
    main(['r18', '-o', 'a.dot', '--highlight', 'STAGE2_unit1_conv1$'])
    marked = [line for line in (tmp_path / 'a.dot').read_text('utf-8').splitlines() if MARK in line]
    assert len(marked) == 1
    assert '<B>stage2_unit1</B>' in marked[0]
    assert 'Red frames mark what was asked for.' in (tmp_path / 'a.dot').read_text('utf-8')


@pytest.mark.parametrize(('shown', 'said'), [(True, ''), (False, 'no program was found that shows a.dot\n')])
def test_view_opens_the_picture(tmp_path, network, capsys, monkeypatch, shown, said):
    asked = []
    monkeypatch.setattr(webbrowser, 'open', lambda address: asked.append(address) or shown)
    main([str(network), '--shape', '1,3,10,10', '-o', 'a.dot', '--view'])
    assert asked == [(tmp_path / 'a.dot').as_uri()]
    assert capsys.readouterr() == ('a.dot\n', said)


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
        (['r18', '-o', 'a.gif'], ['a.gif', '.svg', '.html']),
        (['r18', '-o', 'a.html', '--level', 'layers'], ['layers', 'operators']),
        (['r18', '-o', 'a.html', '--depth', '-1'], ['--depth', '-1']),
        (['r18', '-o', 'a.html', '--highlight', 'nowhere'], ['nowhere']),
        (['r18', '--highlight', '('], ["'('", 'regular expression']),
        (['r18', '--depth', '-2'], ['--depth', '-2']),
        (['r18', '--level', 'layers'], ['layers', 'operators']),
        (['r18', '--shape', 'big'], ['--shape', 'big']),
        (['r18', '--config', 'net_output'], ['KEY=VALUE']),
        (['missing-symbol.json'], ['missing-symbol.json']),
        (['damaged-symbol.json'], ['damaged-symbol.json']),
        (['mine-symbol.json', '--shape', 'dat=1,3,10,10'], ["'dat'"]),
        (['mine-symbol.json', '--config', 'net_act=relu'], ['net_act']),
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
