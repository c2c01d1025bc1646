"""Write a network's graph as DOT text, and render it with whatever layout engine is there.

The DOT text needs nothing. SVG and PNG need an engine: the system's `dot`, or PyPI's graphviz-pure.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Union

from config.errors import ConfigError, DataError
from recognition.files import write_whole
from symbols.graph import Box, Edge, Graph, Group
from symbols.nodes import Shape

logger = logging.getLogger(__name__)

FORMATS = ('svg', 'png', 'dot')
ENGINES = ('dot', 'graphviz-pure')
HOW_TO_GET_AN_ENGINE = "pip install 'facesymbols[plot]' brings one, as does the system package graphviz"
PNG_DPI = 96  # a point of text is as large as on a screen at 100 %

FONT = 'Arial'  # one name, not a list: engines know its widths, and every system has it or a font as wide
INK, QUIET, SKIP = '#1f2933', '#5b6770', '#2b6cb0'
STAGES = ('#eef4fb', '#eef8f1', '#fdf6e7', '#f6f0fa', '#eaf6f7', '#fbf0ee')
FILL = {'input': '#e5e9ee', 'output': '#e5e9ee', 'join': '#dbe9f8'}
SHADES = ((0.02, '#ffffff'), (0.08, '#fff3df'), (0.20, '#ffe3b8'), (0.45, '#ffcf8f'), (1.01, '#ffb562'))


def write_picture(graph: Graph, path: Union[str, os.PathLike[str]], title: str = '') -> Path:
    """Draw a graph into `path`, whose suffix (.svg, .png, .dot) says how, and return the file it wrote.

    Where no layout engine is installed, that is the DOT file beside it. Raises ConfigError for another
    suffix, DataError where the file cannot be written or the engine fails.
    """
    target = Path(path)
    suffix = check_suffix(target)
    text = dot_text(graph, title)
    engine = None if suffix == 'dot' else find_engine()
    if engine is None:
        target = target.with_suffix('.dot')
        content = text.encode('utf-8')
    else:
        content = render(text, engine, suffix)
    return write_whole(target, content)


def check_suffix(path: Union[str, os.PathLike[str]]) -> str:
    """Return a picture's format, its suffix without the dot; raises ConfigError for an unknown one."""
    suffix = Path(path).suffix.lower().lstrip('.')
    if suffix not in FORMATS:
        known = ', '.join(f'.{name}' for name in FORMATS)
        raise ConfigError(f'{path}: the suffix says how the picture is written, and must be one of {known}')
    return suffix


def find_engine() -> Optional[str]:
    """Return the program of a layout engine, on PATH or beside this Python, or None."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path('scripts')])
    for name in ENGINES:
        for places in (
            None,
            beside,
        ):  # a virtual environment's programs are not on PATH unless it was activated
            found = shutil.which(name, path=places)
            if found:
                return found
    return None


def render(text: str, engine: str, suffix: str) -> bytes:
    """Return DOT text laid out as 'svg' or 'png'."""
    command = [engine, f'-T{suffix}'] + ([f'-Gdpi={PNG_DPI}'] if suffix == 'png' else [])
    try:
        done = subprocess.run(command, input=text.encode('utf-8'), capture_output=True, check=False)
    except OSError as error:
        raise DataError(
            f'the layout engine {engine} could not be started: {error.strerror or error}'
        ) from None
    if done.returncode or not done.stdout:
        lines = done.stderr.decode('utf-8', 'replace').strip().splitlines() or [f'status {done.returncode}']
        raise DataError(f'the layout engine {engine} failed: {lines[-1]}')
    for line in done.stderr.decode('utf-8', 'replace').splitlines():
        logger.debug('%s: %s', engine, line)
    return done.stdout


def dot_text(graph: Graph, title: str = '') -> str:
    """Return a graph as DOT text, which every Graphviz lays out; names are escaped, never interpreted."""
    head = [
        'digraph network {',
        '  graph [rankdir=TB, nodesep=0.3, ranksep=0.22, splines=true, labelloc=t, labeljust=l, pad=0.2,'
        f' bgcolor=white, fontname="{FONT}", fontcolor="{INK}", label={heading(graph, title)}];',
        f'  node [shape=box, style="filled,rounded", margin="0.2,0.07", penwidth=1, color="#8a97a5",'
        f' fontname="{FONT}", fontsize=13, fontcolor="{INK}"];',
        f'  edge [fontname="{FONT}", fontsize=11, fontcolor="{QUIET}", color="#6b7785", arrowsize=0.7];',
    ]
    batch = any(shape[:1] not in ((), (1,)) for shape in graph.inputs.values())
    inside: Dict[Optional[str], List[str]] = defaultdict(list)
    for box in graph.boxes:
        inside[box.group].append(box_line(box, graph))
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


def heading(graph: Graph, title: str) -> str:
    """Return the title above the picture, with the exact totals and the key to its colours."""
    inputs = ', '.join(f'{name} {size(shape, True)}' for name, shape in graph.inputs.items())
    macs = 'an unknown number of' if graph.macs is None else f'{number(graph.macs)}'
    totals = f'{graph.parameters:,} parameters, {graph.auxiliary:,} auxiliary values, '
    totals += f'{macs} multiply-accumulates (MACs)'
    key = 'Darker boxes hold a larger share of the parameters.'
    key += ' Blue arrows skip units.' if any(edge.skip for edge in graph.edges) else ''
    lines = [f'<FONT POINT-SIZE="18"><B>{text(title)}</B></FONT>'] if title else []
    lines += [f'<FONT POINT-SIZE="12">{text(line)}</FONT>' for line in (f'input {inputs}', totals, key)]
    return html(''.join(f'{line}<BR ALIGN="LEFT"/>' for line in lines) + ' ')


def box_line(box: Box, graph: Graph) -> str:
    """Return a box's line: title, what it does, and what it holds and costs."""
    tip = attribute('\n'.join(box.operators[:40]))
    if box.kind == 'join':
        rows = [text(box.title), *notes(box, graph)]
        return (
            f'{box.id} [fillcolor="{FILL["join"]}", color="{SKIP}", height=0.25, margin="0.12,0.03",'
            f' label={html("<BR/>".join(rows))}, tooltip="{tip}"];'
        )
    rows = [f'<B>{text(box.title)}</B>', *map(text, box.lines), *notes(box, graph)]
    fill = FILL.get(box.kind) or shade(box.parameters / graph.parameters if graph.parameters else 0)
    return f'{box.id} [fillcolor="{fill}", label={html("<BR/>".join(rows))}, tooltip="{tip}"];'


def notes(box: Box, graph: Graph) -> List[str]:
    """Return the lines below a box's words: what it holds and costs, and what it shares."""
    if box.kind in ('input', 'output'):
        return []
    told = [cost(box, graph), shared_note(box) if box.shared else '']
    return [f'<FONT COLOR="{QUIET}" POINT-SIZE="12">{text(note)}</FONT>' for note in told if note]


def cost(box: Box, graph: Graph) -> str:
    """Return '590 K parameters (12 %), 231 M MACs (9 %)'."""
    parts = []
    if box.parameters:
        parts.append(f'{number(box.parameters)} parameters{share(box.parameters, graph.parameters)}')
    if box.macs is None:
        parts.append('MACs unknown')
    elif box.macs:
        parts.append(f'{number(box.macs)} MACs{share(box.macs, graph.macs)}')
    text = ', '.join(parts)
    return f'all {box.repeat} together: {text}' if text and box.repeat > 1 else text


def shared_note(box: Box) -> str:
    """Return which parameters a box uses that are counted elsewhere."""
    more = f' and {len(box.shared) - 2} more' if len(box.shared) > 2 else ''
    return f'shares {", ".join(box.shared[:2])}{more}'


def share(part: int, whole: Optional[int]) -> str:
    """Return ' (12 %)', '' where the whole is unknown."""
    if not whole:
        return ''
    percent = 100 * part / whole
    return f' ({percent:.0f} %)' if percent >= 1 else ' (<1 %)'


def number(value: int) -> str:
    """Return a count with three significant digits and K, M or G."""
    if value < 1000:
        return str(value)
    mantissa, exponent = f'{value:.2e}'.split('e')  # rounds first, so that 999,999 is 1.00 M and not 1000 K
    thousands, places = divmod(int(exponent), 3)
    thousands, places = (3, int(exponent) - 9) if thousands > 3 else (thousands, places)
    return f'{float(mantissa) * 10**places:.{max(0, 2 - places)}f} {" KMG"[thousands]}'


def shade(part: float) -> str:
    """Return the colour for a share of the parameters."""
    return next(colour for limit, colour in SHADES if part < limit)


def edge_line(edge: Edge, batch: bool) -> str:
    """Return an arrow's line, its tensor's shape beside it."""
    label = size(edge.shape, batch)
    style = f'color="{SKIP}", fontcolor="{SKIP}", penwidth=1.6' if edge.skip else ''
    shown = '' if edge.skip else f'label={html(f" {text(label)} ")}' if label else ''
    return f'  {edge.source} -> {edge.target} [{", ".join(part for part in (shown, style) if part)}];'


def size(shape: Shape, batch: bool) -> str:
    """Return '64×56×56', with the batch axis in front where it is not 1."""
    told = shape if batch or len(shape) < 2 else shape[1:]
    return '×'.join(map(str, told))


def text(words: str) -> str:
    """Return words as the content of an HTML-like label, control characters shown as spaces."""
    return escape(''.join(c if c.isprintable() else ' ' for c in words), quote=True)


def html(content: str) -> str:
    """Return an HTML-like label."""
    return f'<{content}>' if content else '""'


def attribute(words: str) -> str:
    """Return words for a quoted attribute; backslashes and quotes lose their meaning."""
    clean = ''.join(c if c.isprintable() or c == '\n' else ' ' for c in words)
    return clean.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
