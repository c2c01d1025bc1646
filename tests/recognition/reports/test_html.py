from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.reports.html import (
    Section,
    audit_blocks,
    comparison,
    folded,
    paragraph,
    picture,
    settings,
    table,
    write_report,
)
from recognition.verification.lfw import normalise, verify
from symbols.audit.core import audit

import mxnet as mx

NASTY = '<script>alert("1 & 2")</script>'
VOID = {'meta', 'img'}


class Page(HTMLParser):
    """A strict reading of the page: every tag is closed in its turn; texts, attributes and cells are kept."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.attributes, self.rows, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ('td', 'th'):
            self.rows[-1].append(data)
        if data.strip() and 'style' not in self.open:
            self.text.append(data.strip())


def read(path) -> Page:
    return Page(path.read_text('utf-8'))


def of(block) -> Page:
    return Page(block)


@pytest.fixture
def png(tmp_path):
    path = tmp_path / 'picture.png'
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    return path


def test_the_page_is_whole_and_alone(tmp_path, png):
    svg = tmp_path / 'picture.svg'
    svg.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>x</script></svg>')
    blocks = [paragraph('one'), picture(png, 'two'), picture(svg, 'three'), folded('four', paragraph('five'))]

    path = write_report(tmp_path / 'run', 'Title', [Section('First', blocks), Section('Second')], 'In short')

    assert path == tmp_path / 'run' / 'report.html'
    page = read(path)
    assert page.text == [
        'Title', 'Title', 'In short', 'First', 'one', 'two', 'three', 'four', 'five', 'Second',
    ]  # fmt: skip
    assert not {'script', 'link', 'a', 'iframe', 'object'} & set(page.tags)
    sources = [value for _, name, value in page.attributes if name in ('src', 'href', 'action')]
    assert len(sources) == 2
    for source, file, kind in zip(sources, (png, svg), ('image/png', 'image/svg+xml')):
        start, data = source.split(',')
        assert start == f'data:{kind};base64'
        assert base64.b64decode(data) == file.read_bytes()
    assert not re.search(r'url\(|@import', path.read_text('utf-8'))
    assert any("default-src 'none'" in value for _, name, value in page.attributes if name == 'content')


def test_every_text_is_escaped(tmp_path, png):
    blocks = [
        paragraph(NASTY),
        table([NASTY, 'x'], [[NASTY, NASTY]], NASTY),
        settings({NASTY: NASTY}, NASTY),
        picture(png, NASTY),
        folded(NASTY, paragraph(NASTY)),
    ]
    page = read(write_report(tmp_path, NASTY, [Section(NASTY, blocks)], NASTY))
    assert 'script' not in page.tags
    assert page.text.count(NASTY) == 15
    assert ('img', 'alt', NASTY) in page.attributes


def test_numbers_stand_to_the_right_with_separators():
    text = table(
        ['layer', 'parameters', 'share', 'kind', 'mixed'],
        [['conv0', 1234567, '5.00 %', 'fixed', 3], ['fc1', 0, '', '2d', 'x']],
    )
    assert of(text).rows == [
        ['layer', 'parameters', 'share', 'kind', 'mixed'],
        ['conv0', '1,234,567', '5.00 %', 'fixed', '3'],
        ['fc1', '0', '2d', 'x'],  # an empty cell has no text
    ]
    to_the_right = re.findall(r'<(?:td|th)[^>]*class="number"[^>]*>([^<]*)', text)
    assert to_the_right == ['parameters', 'share', '1,234,567', '5.00 %', '0', '']


def verification(pairs: int):
    rng = np.random.default_rng(pairs)
    same = np.arange(pairs) % 2 == 0
    return verify(normalise(rng.normal(size=(2 * pairs, 4))), same)


def test_comparison_shows_the_rates_that_all_support():
    large, small = verification(400), verification(40)
    assert list(large.tar_at_far) == [0.1, 0.01]
    rows = of(comparison({'network': large, 'pixels': small})).rows
    assert rows[0] == ['accuracy (%)', 'equal error rate (%)', 'AUC', 'TAR (%) at FAR 0.1']
    assert rows[1] == [
        'network',
        f'{100 * large.accuracy:.2f} ± {100 * large.accuracy_std:.2f}',
        f'{100 * large.eer:.2f}',
        f'{large.auc:.4f}',
        f'{100 * large.tar_at_far[0.1]:.2f}',
    ]
    assert [row[0] for row in rows[1:]] == ['network', 'pixels']
    assert '40 pairs in 10 folds / 400 pairs in 10 folds' in comparison({'a': large, 'b': small})
    with pytest.raises(DataError, match='no verification'):
        comparison({})


def test_audit_blocks_show_totals_and_the_layers_that_matter():
    body = mx.sym.Convolution(mx.sym.var('data'), kernel=(3, 3), num_filter=8, no_bias=True, name='conv0')
    body = mx.sym.Activation(body, act_type='relu', name='relu0')
    symbol = mx.sym.BatchNorm(mx.sym.FullyConnected(body, num_hidden=4, name='pre_fc1'), name='fc1')
    audited = audit(symbol, {'data': (1, 3, 6, 6)})
    totals, layers = audit_blocks(audited)
    assert ['parameters', f'{audited.total.parameters:,}'] in of(totals).rows
    assert ['multiply-accumulates', f'{8 * 27 * 16 + 4 * 128:,}'] in of(totals).rows
    assert 'input data 1x3x6x6' in of(totals).text
    rows = of(layers).rows
    assert [row[0] for row in rows[1:]] == ['conv0', 'pre_fc1', 'fc1']
    assert rows[1] == ['conv0', 'Convolution', '1x8x4x4', '216', '0', '3,456']
    assert of(layers).tags[0] == 'details'


def test_pictures_that_are_missing_or_of_another_kind_are_named(tmp_path):
    with pytest.raises(DataError, match=r'missing\.png: cannot be read'):
        picture(tmp_path / 'missing.png', '')
    with pytest.raises(ConfigError, match=r'picture\.pdf'):
        picture(tmp_path / 'picture.pdf', '')
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(DataError, match='cannot be written'):
        write_report(tmp_path / 'file', 'Title', [])
