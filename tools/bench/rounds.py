"""Timings as ratios: contenders take turns, and each is compared with the first within a round.

On a shared machine a figure of its own means little: another program may have had the processor. Two contenders that
run one after the other have met the same machine, so the median of their ratios over several rounds holds.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from statistics import median
from typing import Any, Callable, Dict, List, Mapping, Sequence

import numpy as np

from config.errors import ConfigError
from recognition.utils.environment import processor

ENGINES = (
    'onnxruntime',
    'openvino',
    'ncnn',
    'torch',
)  # of which the version is told, where they are installed

Contender = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Row:
    """What one contender came to: the median of each of its figures, and of their ratios to the first contender's."""

    name: str
    figures: Dict[str, float]
    ratios: Dict[str, float]
    rounds: List[Dict[str, float]]


def interleaved(
    contenders: Mapping[str, Contender],
    rounds: int,
    *,
    told: Callable[[str], None] = print,
    warm: bool = True,
) -> List[Row]:
    """Run all contenders once unmeasured, then `rounds` times in turn; the first is what the others are held against.

    warm: False leaves the unmeasured run out, for contenders that start anew each time. A contender returns its figures
    by name, the same ones in every round. ConfigError for fewer than one round.
    """
    if rounds < 1:
        raise ConfigError(f'rounds={rounds} must be at least 1')
    for name, contender in contenders.items() if warm else ():
        told(f'warming up: {name}')
        contender()
    measured: Dict[str, List[Dict[str, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, contender in contenders.items():
            measured[name].append(dict(contender()))
        told(f'round {number + 1} of {rounds} is done')
    base = next(iter(measured.values()))
    return [_row(name, own, base) for name, own in measured.items()]


def _row(name: str, own: Sequence[Dict[str, float]], base: Sequence[Dict[str, float]]) -> Row:
    figures = {key: median(each[key] for each in own) for key in own[0]}
    shared = [key for key in own[0] if key in base[0]]
    ratios = {key: median(a[key] / b[key] for a, b in zip(own, base) if b[key]) for key in shared}
    return Row(name, figures, ratios, list(own))


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table: a column for each figure and, where there is one, for its ratio to the first row's."""
    keys = rows[0].figures
    ratios = rows[0].ratios
    head = ['', *(word for key in keys for word in ((key, 'ratio') if key in ratios else (key,)))]
    lines = ['| ' + ' | '.join(head) + ' |', '| --- |' + ' ---: |' * (len(head) - 1)]
    for row in rows:
        cells = []
        for key in keys:
            cells += [f'{row.figures[key]:,.4g}', *([f'{row.ratios[key]:.2f}'] if key in ratios else [])]
        lines.append(f'| {row.name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def machine() -> Dict[str, Any]:
    """Return the processor, its cores and the versions that the figures belong to."""
    import os

    import mxnet as mx

    engines = {name: version(name) for name in ENGINES if find_spec(name)}
    return {
        'processor': processor(),
        'cores': os.cpu_count(),
        'python': platform.python_version(),
        'mxnet': mx.__version__,
        'numpy': np.__version__,
        **engines,
    }
