"""A picture as PDF: one page as large as the picture, with every word of it."""

from __future__ import annotations

import io
import json
import re
import sys
import zlib

import pytest
from pypdf import PdfReader

from config import MissingExtra
from recognition.drawing.dot import dot_text
from recognition.drawing.pdf import LARGEST, extent, paint
from recognition.drawing.render import find_engine, lay_out, write_picture
from recognition.utils.packages import install_command
from symbols.graph.builder import build_graph
from tests.helpers.hand_written import HAND_WRITTEN, IMAGE, residual

import mxnet as mx


def words_of(picture):
    """Return the words of a laid out picture, in the order in which they are drawn."""
    parts = [picture, *picture.get('objects', ()), *picture.get('edges', ())]
    items = [item for part in parts for item in part.get('_ldraw_', ())]
    return [' '.join(item['text'].split()) for item in items if item['op'] == 'T']


def laid_out(graph):
    return lay_out(dot_text(graph, 'a title'), find_engine(), 'json')


@pytest.mark.parametrize('name', sorted(set(HAND_WRITTEN) - {'odd_names', 'siamese'}))
def test_the_page_is_as_large_as_the_picture_and_says_what_it_says(tmp_path, name):
    build, shapes = HAND_WRITTEN[name]
    graph = build_graph(build(), shapes)
    picture = json.loads(laid_out(graph))
    path = write_picture(graph, tmp_path / 'net.pdf', 'a title')
    (page,) = PdfReader(path).pages
    left, bottom, right, top = extent(picture)
    assert [float(x) for x in page.mediabox[2:]] == pytest.approx([right - left, top - bottom], abs=0.01)
    text = ' '.join(page.extract_text().split())
    for line in filter(None, words_of(picture)):
        assert ''.join(line.split()) in ''.join(text.split()), line
    assert PdfReader(path).metadata.title == 'a title'


def test_letters_that_helvetica_lacks_come_from_other_fonts():
    graph = build_graph(
        mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=3, name='ü → β 面 Ж'), {'data': (1, 3)}
    )
    (page,) = PdfReader(io.BytesIO(paint(laid_out(graph)))).pages
    fonts = {font['/BaseFont'] for font in page['/Resources']['/Font'].get_object().values()}
    assert fonts >= {'/Helvetica', '/Symbol'}
    assert any('HeiseiKakuGo' in font for font in fonts)
    assert 'ü → β 面 Ж' in page.extract_text()


def test_lines_fills_and_dashes_are_painted():
    picture = laid_out(build_graph(residual(3), IMAGE))
    (page,) = PdfReader(io.BytesIO(paint(picture))).pages
    commands = page.get_contents().get_data().decode('latin-1').split()
    boxes = [part for part in json.loads(picture)['objects'] if '_draw_' in part]
    arrows = json.loads(picture)['edges']
    assert commands.count('[5') == 1  # the frame of the repeated unit is the only dashed line
    assert commands.count('B*') == len(boxes) + len(arrows)
    assert commands.count('S') == len(arrows)


def test_a_picture_larger_than_a_page_may_be_is_scaled_down():
    x = mx.sym.var('data')
    for i in range(300):
        x = mx.sym.Activation(x, act_type='relu', name=f'a{i}')
    picture = laid_out(build_graph(x, {'data': (1, 3)}, 'operators', fold=False))
    assert extent(json.loads(picture))[3] > LARGEST
    (page,) = PdfReader(io.BytesIO(paint(picture))).pages
    assert float(page.mediabox[3]) == pytest.approx(LARGEST)


def test_the_same_picture_is_the_same_file():
    picture = laid_out(build_graph(residual(), IMAGE))
    assert zlib.crc32(paint(picture, 't')) == zlib.crc32(paint(picture, 't'))


def test_without_reportlab_the_command_that_helps_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'reportlab.pdfgen.canvas', None)
    with pytest.raises(
        MissingExtra, match=rf'a PDF needs the package reportlab: {re.escape(install_command("plot"))}'
    ):
        write_picture(build_graph(residual(), IMAGE), tmp_path / 'net.pdf')
    assert list(tmp_path.iterdir()) == []
