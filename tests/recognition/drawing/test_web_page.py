"""The web page's text and what it holds; test_web_page_in_chromium.py looks at it in a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from config import DataError, resolve
from recognition.drawing.web_page import opened, page_text, write_page
from symbols import get_symbol
from symbols.graph.builder import build_graph
from tests.helpers.hand_written import HAND_WRITTEN, IMAGE, ODD, residual

LARGEST = 300_000  # bytes of the page of a preset's network


class Parts(HTMLParser):
    """The tags of a page with their attributes, and the text of each script and of the title."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inside = [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        name = self.tags[-1][1].get('id', self.tags[-1][0]) if self.tags else ''
        self.inside[name] = self.inside.get(name, '') + data


def network(text):
    return json.loads(Parts(text).inside['network'])


@pytest.mark.parametrize('name', HAND_WRITTEN)
def test_the_page_holds_every_box_and_frame_once(name):
    build, shapes = HAND_WRITTEN[name]
    graph = build_graph(build(), shapes, 'nested')
    held = network(page_text(graph, name))
    assert set(held['nodes']) == {part.id for part in (*graph.boxes, *graph.groups)}
    children = [child for frame in held['frames'].values() for child in frame['children']]
    assert sorted(children) == sorted(held['nodes'])
    names = [name for node in held['nodes'].values() for name in node['names']]
    assert set(names) == {name for box in graph.boxes for name in box.operators}


def test_no_name_breaks_out_of_its_place():
    build, shapes = HAND_WRITTEN['odd_names']
    text = page_text(build_graph(build(), shapes, 'nested'), ODD)
    plain = page_text(build_graph(residual(), IMAGE, 'nested'), 'plain')
    assert Parts(text).tags == Parts(plain).tags
    assert Parts(text).inside['title'].strip() == ODD.strip()
    assert [node['names'] for node in network(text)['nodes'].values()].count([ODD]) == 1


def test_the_page_needs_nothing_from_outside():
    text = page_text(build_graph(residual(), IMAGE, 'nested'), 'plain')
    tags = Parts(text).tags
    assert [tag for tag, attributes in tags if {'src', 'href'} & set(attributes)] == []
    assert 'link' not in [tag for tag, _ in tags]
    addresses = set(re.findall(r'\w+://[^\s\'"]+', text))
    assert addresses == {'http://www.w3.org/2000/svg'}  # a name, not an address that is loaded
    policy = next(
        attributes['content'] for tag, attributes in tags if tag == 'meta' and 'content' in attributes
    )
    assert 'content-security-policy' in text.lower()
    assert policy


def test_amounts_are_those_of_the_graph():
    graph = build_graph(residual(3), IMAGE, 'nested')
    held = network(page_text(graph))
    (unit,) = [node for node in held['nodes'].values() if node['title'] == 'residual unit × 3']
    assert unit['repeat'] == 3
    assert unit['parameters'] == f'{3 * (4 * 4 * 9 + 4 + 2 * 4)}'
    assert unit['note'].startswith('all 3 together: 468 parameters')
    arrows = [arrow for frame in held['frames'].values() for arrow in frame['arrows']]
    assert {arrow[3] for arrow in arrows} == {'3×16×16', '4×16×16', '3'}
    assert sum(arrow[4] for arrow in arrows) == 1


def test_depth_opens_frames():
    graph = build_graph(residual(3), IMAGE, 'nested')
    kinds = {group.id: group.kind for group in graph.groups}
    assert opened(graph.groups, 0) == []
    assert {kinds[name] for name in opened(graph.groups, 1)} == {'stage'}
    assert {kinds[name] for name in opened(graph.groups, 2)} == {'stage', 'block'}
    assert opened(graph.groups, 99) == list(kinds)
    held = network(page_text(graph, depth=1, search='conv.*'))
    assert (held['open'], held['search']) == (opened(graph.groups, 1), 'conv.*')


@pytest.mark.parametrize('preset', ['r200', 'd201'])
def test_the_page_of_a_deep_network_is_small(tmp_path, preset):
    graph = build_graph(get_symbol(resolve(preset)), {'data': (1, 3, 112, 112)}, 'nested')
    path = write_page(graph, tmp_path / 'net.html', preset)
    assert 20_000 < path.stat().st_size < LARGEST


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('no folder')
    with pytest.raises(DataError, match='cannot be written'):
        write_page(build_graph(residual(), IMAGE, 'nested'), tmp_path / 'file' / 'net.html')
