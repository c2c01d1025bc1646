"""A network as one web page, with nothing to load: its frames open and close, and names can be searched.

The page holds the nested graph as JSON, and lays out and draws it by itself (the files in the folder `page`).
"""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from recognition.drawing.dot import FILL, shade
from recognition.drawing.labels import cost, inputs, printable, shared_note, size, totals
from recognition.utils.files import PathLike, write_whole
from symbols.graph.model import Box, Graph, Group
from symbols.graph.nesting import Frame, frames, sums

FOLDER = Path(__file__).resolve().parent / 'page'


def write_page(graph: Graph, path: PathLike, title: str = '', *, depth: int = 0, search: str = '') -> Path:
    """Write the page of a nested graph (`build_graph` with the level 'nested'), and return the file.

    Frames nested less than `depth` deep stand open at first; `search` is a regular expression that is looked for at
    once. Raises DataError where the file cannot be written.
    """
    return write_whole(path, page_text(graph, title, depth=depth, search=search).encode('utf-8', 'replace'))


def page_text(graph: Graph, title: str = '', *, depth: int = 0, search: str = '') -> str:
    """Return the text of the page that `write_page` writes."""
    parts = {
        '<!--TITLE-->': escape(printable(title) or 'network'),
        '<!--SUMMARY-->': escape(f'{inputs(graph)}; {totals(graph)}'),
        '/*PAGE.CSS*/': _read('page.css'),
        '/*LAYOUT.JS*/': _read('layout.js'),
        '/*DRAW.JS*/': _read('draw.js'),
        '/*PAGE.JS*/': _read('page.js'),
        '/*NETWORK*/': network_json(graph, depth, search),
    }
    marks = re.compile('|'.join(map(re.escape, parts)))
    return marks.sub(lambda mark: parts[mark.group()], _read('page.html'))


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding='utf-8')


def network_json(graph: Graph, depth: int, search: str) -> str:
    """Return what the page draws; no name in it can end the script element that it stands in."""
    inside = frames(graph)
    batch = any(shape[:1] not in ((), (1,)) for shape in graph.inputs.values())
    whole = {
        'nodes': {box.id: _node(box, graph) for box in (*graph.boxes, *_closed(graph))},
        'frames': {name or '': _frame(frame, batch) for name, frame in inside.items()},
        'open': opened(graph.groups, depth),
        'search': search,
    }
    text = json.dumps(whole, ensure_ascii=False, separators=(',', ':'))
    return text.replace('&', '\\u0026').replace('<', '\\u003c').replace('>', '\\u003e')


def _closed(graph: Graph) -> List[Box]:
    """Return the groups of a graph as the boxes that they are while they are closed."""
    held = sums(graph)
    return [
        Box(
            id=group.id,
            kind=group.kind,
            title=group.title,
            lines=group.lines,
            group=group.parent,
            repeat=group.repeat,
            parameters=held[group.id].parameters,
            auxiliary=held[group.id].auxiliary,
            macs=held[group.id].macs,
            shared=held[group.id].shared,
        )
        for group in graph.groups
    ]


def _node(box: Box, graph: Graph) -> Dict[str, Any]:
    """Return what the page knows of a box; amounts in full for its details, rounded for its note."""
    shares = [(box.parameters, graph.parameters), (box.macs or 0, graph.macs)]
    shades = [shade(part / whole if whole else 0) for part, whole in shares]
    amount = box.kind not in ('input', 'output')
    return {
        'kind': box.kind,
        'title': printable(box.title),
        'lines': [printable(line) for line in box.lines],
        'note': cost(box, graph) if amount else '',
        'shared': printable(shared_note(box)) if box.shared else '',
        'repeat': box.repeat,
        'parameters': f'{box.parameters:,}',
        'auxiliary': f'{box.auxiliary:,}',
        'macs': 'unknown' if box.macs is None else f'{box.macs:,}',
        'fills': [FILL.get(box.kind) or colour for colour in shades],
        'names': list(dict.fromkeys(box.operators)),
    }


def _frame(frame: Frame, batch: bool) -> Dict[str, Any]:
    arrows: List[Tuple[str, str, str, str, int]] = [
        (arrow.source, arrow.target, arrow.tensor, size(arrow.shape, batch), int(arrow.skip))
        for arrow in frame.arrows
    ]
    return {'children': frame.children, 'arrows': arrows}


def opened(groups: Sequence[Group], depth: int) -> List[str]:
    """Return the ids of the groups that stand open: those with fewer than `depth` groups around them."""
    parents: Mapping[str, Optional[str]] = {group.id: group.parent for group in groups}

    def around(group: str) -> int:
        parent = parents[group]
        return 0 if parent is None else 1 + around(parent)

    return [group.id for group in groups if around(group.id) < depth]
