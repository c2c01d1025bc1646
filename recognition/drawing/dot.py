"""Write a network's graph as DOT text, which every Graphviz lays out."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from typing import Collection, Dict, Iterator, List, Mapping, Optional, Sequence

from recognition.drawing.labels import cost, inputs, printable, shared_note, size, totals
from symbols.graph.model import Box, Edge, Graph, Group

FONT = 'Arial'  # one name, not a list: engines know its widths, and every system has it or a font as wide
INK, QUIET, SKIP = '#1f2933', '#5b6770', '#2b6cb0'
MARK = '#c2185b'
STAGES = ('#eef4fb', '#eef8f1', '#fdf6e7', '#f6f0fa', '#eaf6f7', '#fbf0ee')
FILL = {'input': '#e5e9ee', 'output': '#e5e9ee', 'join': '#dbe9f8'}
SHADES = ((0.02, '#ffffff'), (0.08, '#fff3df'), (0.20, '#ffe3b8'), (0.45, '#ffcf8f'), (1.01, '#ffb562'))


def dot_text(graph: Graph, title: str = '', marked: Collection[str] = ()) -> str:
    """Return a graph as DOT text, the boxes with ids in `marked` standing out; names are escaped, never interpreted."""
    head = [
        'digraph network {',
        '  graph [rankdir=TB, nodesep=0.3, ranksep=0.22, splines=true, labelloc=t, labeljust=l, pad=0.2,'
        f' bgcolor=white, fontname="{FONT}", fontcolor="{INK}", label={heading(graph, title, bool(marked))}];',
        f'  node [shape=box, style="filled,rounded", margin="0.2,0.07", penwidth=1, color="#8a97a5",'
        f' fontname="{FONT}", fontsize=13, fontcolor="{INK}"];',
        f'  edge [fontname="{FONT}", fontsize=11, fontcolor="{QUIET}", color="#6b7785", arrowsize=0.7];',
    ]
    batch = any(shape[:1] not in ((), (1,)) for shape in graph.inputs.values())
    inside: Dict[Optional[str], List[str]] = defaultdict(list)
    for box in graph.boxes:
        inside[box.group].append(box_line(box, graph, box.id in marked))
    colours = iter(range(len(graph.groups)))
    frames: Dict[Optional[str], List[Group]] = defaultdict(list)
    for group in graph.groups:
        frames[group.parent].append(group)
    body = nest(None, inside, frames, colours)
    arrows = [edge_line(edge, batch) for edge in graph.edges]
    return '\n'.join([*head, *body, *arrows, '}', ''])


def nest(
    parent: Optional[str],
    inside: Mapping[Optional[str], Sequence[str]],
    frames: Mapping[Optional[str], Sequence[Group]],
    colours: Iterator[int],
    depth: int = 1,
) -> List[str]:
    """Return the lines of the boxes in a frame and of the frames within it."""
    pad = '  ' * depth
    lines = [f'{pad}{line}' for line in inside.get(parent, ())]
    for group in frames.get(parent, ()):
        lines += [f'{pad}subgraph "cluster_{group.id}" {{', f'{pad}  {frame_style(group, colours)}']
        lines += nest(group.id, inside, frames, colours, depth + 1)
        lines.append(f'{pad}}}')
    return lines


def frame_style(group: Group, colours: Iterator[int]) -> str:
    """Return a frame's attributes: a soft colour for a stage, dashes for a unit that is repeated."""
    label = html(f'<B>{text(group.title)}</B>' if group.title else '')
    if group.kind == 'stage':
        fill = STAGES[next(colours) % len(STAGES)]
        return (
            f'graph [style="filled,rounded", color="#c5d0db", fillcolor="{fill}", labeljust=l, fontsize=13,'
            f' margin=10, label={label}];'
        )
    return (
        f'graph [style="dashed,rounded", color="{SKIP}", labeljust=l, fontsize=12, margin=8, label={label}];'
    )


def heading(graph: Graph, title: str, marked: bool = False) -> str:
    """Return the title above the picture, with the exact totals and the key to its colours."""
    key = 'Darker boxes hold a larger share of the parameters.'
    key += ' Blue arrows skip units.' if any(edge.skip for edge in graph.edges) else ''
    key += ' Red frames mark what was asked for.' if marked else ''
    lines = [f'<FONT POINT-SIZE="18"><B>{text(title)}</B></FONT>'] if title else []
    lines += [f'<FONT POINT-SIZE="12">{text(line)}</FONT>' for line in (inputs(graph), totals(graph), key)]
    return html(''.join(f'{line}<BR ALIGN="LEFT"/>' for line in lines) + ' ')


def box_line(box: Box, graph: Graph, marked: bool = False) -> str:
    """Return a box's line: title, what it does, and what it holds and costs."""
    tip = attribute('\n'.join(box.operators[:40]))
    mark = f', color="{MARK}", penwidth=3.5' if marked else ''
    if box.kind == 'join':
        rows = [text(box.title), *notes(box, graph)]
        return (
            f'{box.id} [fillcolor="{FILL["join"]}", color="{SKIP}", height=0.25, margin="0.12,0.03",'
            f' label={html("<BR/>".join(rows))}, tooltip="{tip}"{mark}];'
        )
    rows = [f'<B>{text(box.title)}</B>', *map(text, box.lines), *notes(box, graph)]
    fill = FILL.get(box.kind) or shade(box.parameters / graph.parameters if graph.parameters else 0)
    return f'{box.id} [fillcolor="{fill}", label={html("<BR/>".join(rows))}, tooltip="{tip}"{mark}];'


def notes(box: Box, graph: Graph) -> List[str]:
    """Return the lines below a box's words: what it holds and costs, and what it shares."""
    if box.kind in ('input', 'output'):
        return []
    told = [cost(box, graph), shared_note(box) if box.shared else '']
    return [f'<FONT COLOR="{QUIET}" POINT-SIZE="12">{text(note)}</FONT>' for note in told if note]


def shade(part: float) -> str:
    """Return the colour for a share of the parameters."""
    return next(colour for limit, colour in SHADES if part < limit)


def edge_line(edge: Edge, batch: bool) -> str:
    """Return an arrow's line, its tensor's shape beside it."""
    label = size(edge.shape, batch)
    style = f'color="{SKIP}", fontcolor="{SKIP}", penwidth=1.6' if edge.skip else ''
    shown = '' if edge.skip else f'label={html(f" {text(label)} ")}' if label else ''
    return f'  {edge.source} -> {edge.target} [{", ".join(part for part in (shown, style) if part)}];'


def text(words: str) -> str:
    """Return words as the content of an HTML-like label, control characters shown as spaces."""
    return escape(printable(words), quote=True)


def html(content: str) -> str:
    """Return an HTML-like label."""
    return f'<{content}>' if content else '""'


def attribute(words: str) -> str:
    """Return words for a quoted attribute; backslashes and quotes lose their meaning."""
    clean = '\n'.join(map(printable, words.split('\n')))
    return clean.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
