"""A training step: MXNet as InsightFace uses it, this project's trainer, and PyTorch.

Forward, softmax loss over 1000 identities without a bias, backward, SGD with momentum and decay, on the same uint8
images (N, 3, H, W), from the same values. The rate of dropout is 0, so that all have the same losses in their first
steps; one that has not is refused.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from config.errors import FaceSymbolsError
from recognition.bench.contenders import PLAIN, check_counts, choose
from recognition.bench.networks import Drawn, draw_network, save
from recognition.bench.rounds import Row, interleaved
from recognition.bench.turns import Turns
from recognition.environment import usable_cores

NETWORKS, BATCH = ('r18', 'd121'), 8
CLASSES, RATE = 1000, 1e-4
SECONDS = 2.0  # that a turn takes at least
FIRST, LATER = (
    1e-4,
    1e-2,
)  # how far a loss may be from plain's, as a share: the first one's, and after updates
FIGURE = 'images/s'
# what may be named in `against` -> its rows
ROWS: Mapping[str, Tuple[str, ...]] = {PLAIN: (), 'torch': ('torch eager', 'torch channels-last')}
OURS = ('facesymbols', 'facesymbols, recompute')


def measure(
    rounds: int,
    *,
    networks: Sequence[str] = NETWORKS,
    batch: int = BATCH,
    threads: Optional[int] = None,
    against: Optional[Sequence[str]] = None,
    settings: Optional[Mapping[str, Any]] = None,
    told: Callable[[str], None] = print,
) -> List[Row]:
    """Train on `batch` images at a time with each contender in every round, network after network.

    Arguments and errors as those of `recognition.bench.embed.measure`; a row's ratio is to its own network's plain.
    """
    check_counts(rounds=rounds, batch=batch, threads=threads)
    names = [PLAIN, *OURS, *(row for name in choose(tuple(ROWS), against, told) for row in ROWS[name])]
    drawn = {name: draw_network(name, settings or {}, dropout=False) for name in networks}
    rows: List[Row] = []
    for name, network in drawn.items():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            told(f'{name}: first steps of {", ".join(names)}')
            task = {'network': name, 'settings': dict(settings or {}), 'classes': CLASSES, 'rate': RATE}
            write_files(Path(folder), network, task, batch)
            contenders = {
                each: _open(each, Path(folder), batch, threads or usable_cores(), stack) for each in names
            }
            found = interleaved(contenders, rounds, told=told, warm=False)
        rows += [_with_seconds(name, batch, row) for row in found]
    return rows


def write_files(folder: Path, network: Drawn, task: Mapping[str, Any], batch: int) -> None:
    """Write what the contenders read."""
    draw = np.random.default_rng(2)
    width = int(network.cfg.emb_size)
    weight = (draw.standard_normal((CLASSES, width)) / np.sqrt(width)).astype(np.float32)
    save(folder / PLAIN, network.symbol, {**network.values, 'fc7_weight': weight})
    network.own.save(str(folder / 'own.json'))
    np.save(folder / 'images.npy', np.ascontiguousarray(network.faces(batch).transpose(0, 3, 1, 2)))
    np.save(folder / 'labels.npy', draw.integers(0, CLASSES, batch).astype(np.float32))
    (folder / 'task.json').write_text(json.dumps(task))


def _open(
    name: str, folder: Path, batch: int, threads: int, stack: ExitStack
) -> Callable[[], Dict[str, float]]:
    """Start a contender's process and compare its losses with plain's, which is the first to be opened."""
    words = [name, str(folder), str(threads)]
    log, module = folder / f'{name}.log', 'recognition.bench.train_process'
    turns = Turns(name, module, words, threads=threads, ours=name in OURS, log=log)
    stack.callback(turns.close)
    check(name, np.load(folder / f'{name}.npy'), np.load(folder / f'{PLAIN}.npy'))
    return lambda: {FIGURE: batch / turns.seconds(SECONDS)}


def check(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """Raise FaceSymbolsError unless a contender's first losses are those of plain."""
    limits = np.array([FIRST, *[LATER] * (len(wanted) - 1)]) * np.abs(wanted)
    if not (np.abs(found - wanted) <= limits).all():
        ours, theirs = (', '.join(f'{loss:.6g}' for loss in losses) for losses in (found, wanted))
        raise FaceSymbolsError(f'{name} has the losses {ours} in its first steps and plain {theirs}')


def _with_seconds(network: str, batch: int, row: Row) -> Row:
    figures = {**row.figures, 'seconds a step': batch / row.figures[FIGURE]}
    return replace(row, name=f'{network}, {row.name}', figures=figures)
