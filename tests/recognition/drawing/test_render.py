"""DOT text and its rendering: escaping, engines, files."""

from __future__ import annotations

import stat
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree

import pytest

from config import ConfigError, DataError, network, resolve
from recognition.drawing import render as drawing
from recognition.drawing.dot import dot_text
from recognition.drawing.labels import number
from recognition.drawing.render import find_engine, write_picture
from symbols import get_symbol
from symbols.graph.builder import build_graph

import mxnet as mx

S = mx.sym
SCREEN = 1000  # pixels
SMALLEST = 11  # points of the smallest letters
ODD = 'a: "b" <i>&amp; \\n {c|d} ü\t'


def small(name='fc', title_level='units'):
    x = S.Convolution(S.var('data'), num_filter=4, kernel=(3, 3), pad=(1, 1), name='conv')
    x = x + S.Convolution(x, num_filter=4, kernel=(1, 1), name='inner')
    return build_graph(S.FullyConnected(x, num_hidden=3, name=name), {'data': (1, 3, 8, 8)}, title_level)


def words(svg: bytes) -> str:
    root = ElementTree.fromstring(svg)
    return '\n'.join(''.join(node.itertext()) for node in root.iter('{http://www.w3.org/2000/svg}text'))


def test_svg_shows_shapes_totals_and_shares(tmp_path):
    path = write_picture(small(), tmp_path / 'net.svg', 'a network')
    text = words(path.read_bytes())
    conv, inner, dense = 4 * 3 * 9 + 4, 4 * 4 + 4, 3 * 256 + 3
    total = conv + inner + dense
    assert 'a network' in text
    assert f'{total:,} parameters, 0 auxiliary values' in text
    assert f'{dense} parameters ({100 * dense / total:.0f} %)' in text
    assert '4×8×8' in text
    assert 'add' in text


@pytest.mark.parametrize('level', ['stages', 'units', 'operators'])
def test_odd_names_arrive_as_they_are(tmp_path, level):
    path = write_picture(small(ODD, level), tmp_path / 'net.svg', f'title {ODD}')
    text = words(path.read_bytes()).replace('\xa0', ' ')
    shown = ODD.replace('\t', ' ').strip()
    assert f'title {shown}' in text
    assert f'{shown} (output)' in text.replace('  (', ' (')


def presets():
    main_families = ('r100', 'd121', 'xception')
    return [pytest.param(name, marks=[] if name in main_families else pytest.mark.slow) for name in network]


@pytest.mark.parametrize('preset', presets())
def test_stages_fit_on_three_screens_in_letters_of_screen_size(tmp_path, preset):
    cfg = resolve(preset)
    height, width, channels = cfg.image_shape
    graph = build_graph(get_symbol(cfg), {'data': (1, channels, height, width)}, 'stages')
    path = write_picture(graph, tmp_path / 'net.png', preset)
    assert int.from_bytes(path.read_bytes()[20:24], 'big') < 3 * SCREEN
    root = ElementTree.fromstring(write_picture(graph, tmp_path / 'net.svg', preset).read_bytes())
    sizes = [float(node.get('font-size')) for node in root.iter('{http://www.w3.org/2000/svg}text')]
    assert min(sizes) >= SMALLEST


def test_png_is_a_png(tmp_path):
    path = write_picture(small(), tmp_path / 'net.PNG')
    assert path.name == 'net.PNG'
    assert path.read_bytes().startswith(b'\x89PNG\r\n')


def test_dot_text_has_every_box_and_arrow():
    graph = small()
    text = dot_text(graph)
    assert text.startswith('digraph')
    assert all(f'{edge.source} -> {edge.target}' in text for edge in graph.edges)
    assert all(f' {box.id} [' in text for box in graph.boxes)
    assert text.count('{') == text.count('}')


def test_batch_axis_is_shown_where_it_is_not_one():
    symbol = S.FullyConnected(S.var('data'), num_hidden=3, name='fc')
    assert ' 4×3 ' in dot_text(build_graph(symbol, {'data': (4, 10)}))
    assert ' 3 ' in dot_text(build_graph(symbol, {'data': (1, 10)}))


def test_without_engine_the_dot_file_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, 'find_engine', lambda: None)
    graph = small()
    path = write_picture(graph, tmp_path / 'net.svg')
    assert path == tmp_path / 'net.dot'
    assert path.read_text(encoding='utf-8') == dot_text(graph)
    assert [file.name for file in tmp_path.iterdir()] == ['net.dot']


def program(path, script):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_an_engine_is_found_on_path_or_beside_python(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path / 'empty'))
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'venv' / 'python'))
    monkeypatch.setattr(sysconfig, 'get_path', lambda name: str(tmp_path / 'scripts'))
    assert find_engine() is None
    pure = program(tmp_path / 'venv' / 'graphviz-pure', 'exit 0')
    assert find_engine() == pure
    dot = program(tmp_path / 'on_path' / 'dot', 'exit 0')
    monkeypatch.setenv('PATH', str(tmp_path / 'on_path'))
    assert find_engine() == dot


def test_a_failing_engine_is_one_sentence_and_writes_nothing(tmp_path, monkeypatch):
    engine = program(
        tmp_path / 'bin' / 'dot', 'cat > /dev/null; echo first >&2; echo "no such format" >&2; exit 1'
    )
    monkeypatch.setattr(drawing, 'find_engine', lambda: engine)
    (tmp_path / 'net.svg').write_text('the old picture')
    with pytest.raises(DataError, match='failed: no such format'):
        write_picture(small(), tmp_path / 'net.svg')
    assert (tmp_path / 'net.svg').read_text() == 'the old picture'


def test_an_existing_picture_is_replaced(tmp_path):
    (tmp_path / 'net.svg').write_text('the old picture')
    write_picture(small(), tmp_path / 'net.svg')
    assert 'the old picture' not in (tmp_path / 'net.svg').read_text(encoding='utf-8')
    assert [file.name for file in tmp_path.iterdir()] == ['net.svg']


@pytest.mark.parametrize('name', ['net.gif', 'net', 'net.'])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(ConfigError, match=r'\.svg, \.png, \.pdf, \.dot'):
        write_picture(small(), tmp_path / name)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('no folder')
    with pytest.raises(DataError, match='cannot be written'):
        write_picture(small(), tmp_path / 'file' / 'net.dot')


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0, '0'),
        (999, '999'),
        (1000, '1.00 K'),
        (33281, '33.3 K'),
        (999_999, '1.00 M'),
        (231_211_008, '231 M'),
        (6_310_000_000, '6.31 G'),
        (12_345_600_000, '12.3 G'),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text
