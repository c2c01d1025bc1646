"""A training step: MXNet as InsightFace uses it, this project's trainer, and PyTorch.

Forward, softmax loss over 1000 identities without a bias, backward, SGD with momentum and decay, on the same uint8
images (N, 3, H, W), from the same values. The rate of dropout is 0, so that all have the same losses in their first
steps; one that has not is refused.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import List, Mapping, Sequence, Tuple

import numpy as np

from config.errors import FaceSymbolsError
from tools.bench.contenders import PLAIN
from tools.bench.network_suite import FIGURE, Measured, NetworkSuite, measure_networks
from tools.bench.rounds import Row
from tools.bench.saved import save

CLASSES, RATE = 1000, 1e-4
# How far a loss may be from plain's, as a share: the first one's, and after updates.
FIRST, LATER = 1e-4, 1e-2
# what may be named in `against` -> its rows
ROWS: Mapping[str, Tuple[str, ...]] = {PLAIN: (), 'torch': ('torch eager', 'torch channels-last')}
OURS = ('facesymbols', 'facesymbols, recompute')


def write_files(measured: Measured) -> None:
    """Write what the contenders read."""
    folder, network, batch = measured.folder, measured.network, measured.batch
    draw = np.random.default_rng(2)
    width = int(network.cfg.emb_size)
    weight = (draw.standard_normal((CLASSES, width)) / np.sqrt(width)).astype(np.float32)
    save(folder / PLAIN, network.symbol, {**network.values, 'fc7_weight': weight})
    network.own.save(str(folder / 'own.json'))
    np.save(folder / 'images.npy', np.ascontiguousarray(network.faces(batch).transpose(0, 3, 1, 2)))
    np.save(folder / 'labels.npy', draw.integers(0, CLASSES, batch).astype(np.float32))
    task = {'network': measured.name, 'settings': dict(measured.settings), 'classes': CLASSES, 'rate': RATE}
    (folder / 'task.json').write_text(json.dumps(task))


def check(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """Raise FaceSymbolsError unless a contender's first losses are those of plain."""
    limits = np.array([FIRST, *[LATER] * (len(wanted) - 1)]) * np.abs(wanted)
    if not (np.abs(found - wanted) <= limits).all():
        ours, theirs = (', '.join(f'{loss:.6g}' for loss in losses) for losses in (found, wanted))
        raise FaceSymbolsError(f'{name} has the losses {ours} in its first steps and plain {theirs}')


def _with_seconds(measured: Measured, rows: Sequence[Row]) -> List[Row]:
    """Return the rows under their network's name, with the seconds of a step."""
    return [
        replace(
            row,
            name=f'{measured.name}, {row.name}',
            figures={**row.figures, 'seconds a step': measured.batch / row.figures[FIGURE]},
        )
        for row in rows
    ]


SUITE = NetworkSuite(
    process='tools.bench.train_process',
    opening='first steps of',
    rows=ROWS,
    ours=OURS,
    write_files=write_files,
    check=check,
    finish=_with_seconds,
    dropout=False,
    warm=False,
)
# (rounds, *, networks, batch, threads, against, settings, told) -> rows
measure = partial(measure_networks, SUITE, networks=('r18', 'd121'))
