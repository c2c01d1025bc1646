"""Draw a network's graph into a file, with whatever layout engine is there.

The DOT text needs nothing. SVG, PNG and PDF need an engine: the system's `dot`, or PyPI's graphviz-pure.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Collection, FrozenSet, Mapping, Optional, Sequence

from config.errors import ConfigError, DataError
from recognition.drawing.dot import dot_text
from recognition.drawing.labels import printable
from recognition.drawing.pdf import paint
from recognition.utils.files import PathLike, write_whole
from recognition.utils.output_paths import check_suffix
from recognition.utils.packages import install_command
from symbols.graph.model import Graph

logger = logging.getLogger(__name__)

FORMATS = ('svg', 'png', 'pdf', 'dot')
ENGINES = ('dot', 'graphviz-pure')
HOW_TO_GET_AN_ENGINE = f'{install_command("plot")} brings one, as does the system package graphviz'
OPTIONS: Mapping[str, Sequence[str]] = {'png': ('-Gdpi=96',)}  # text is as large as on a screen at 100 %


def write_picture(graph: Graph, path: PathLike, title: str = '', marked: Collection[str] = ()) -> Path:
    """Draw a graph into `path`, whose suffix (.svg, .png, .pdf, .dot) says how, and return the file it wrote.

    The boxes whose ids are in `marked` stand out. Where no layout engine is installed, the file is the DOT text
    beside `path`. Raises ConfigError for another suffix, DataError where the file cannot be written or the engine
    fails, MissingExtra for a PDF without reportlab.
    """
    target = Path(path)
    suffix = check_suffix(target, FORMATS)
    text = dot_text(graph, title, marked)
    engine = None if suffix == 'dot' else find_engine()
    if engine is None:
        target = target.with_suffix('.dot')
        content = text.encode('utf-8')
    else:
        content = render(text, engine, suffix, title)
    return write_whole(target, content)


def find_boxes(graph: Graph, pattern: str) -> FrozenSet[str]:
    """Return the ids of the boxes whose title, or an operator's name, matches a regular expression, in any case.

    Raises ConfigError for a pattern that is none, or that no box matches.
    """
    try:
        matches = re.compile(pattern, re.IGNORECASE).search
    except re.error as error:
        raise ConfigError(f'{pattern!r} is no regular expression: {error}') from None
    found = frozenset(box.id for box in graph.boxes if any(map(matches, (box.title, *box.operators))))
    if not found:
        raise ConfigError(f'no box and no operator in it has a name that matches {pattern!r}')
    return found


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


def render(text: str, engine: str, suffix: str, title: str = '') -> bytes:
    """Return DOT text laid out as 'svg', 'png' or 'pdf'; a PDF is painted here, for graphviz-pure has none."""
    if suffix == 'pdf':
        return paint(lay_out(text, engine, 'json'), printable(title))
    return lay_out(text, engine, suffix)


def lay_out(text: str, engine: str, kind: str) -> bytes:
    """Return what the engine makes of DOT text in one of its own formats."""
    command = [engine, f'-T{kind}', *OPTIONS.get(kind, ())]
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
