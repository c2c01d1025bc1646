"""The memory that the audit foretells beside the peak of a process, for networks in inference and in training.

Each contender is a process of its own, so that its peak is its own, above what it has when mxnet is imported.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import Callable, Dict, List, Sequence

from config import resolve
from tools.bench.contenders import check_counts
from tools.bench.process import run_alone
from tools.bench.rounds import Row, interleaved

NETWORKS = ('r18', 'r50', 'd121', 'xception', 'y1')
BATCH = 24
WAYS = ('training', 'recompute', 'inference')
MEASURED, SECONDS = 'GB measured', 'seconds'
COMPARED = (MEASURED, SECONDS)  # with the same network's training


def measure(
    rounds: int,
    *,
    networks: Sequence[str] = NETWORKS,
    batch: int = BATCH,
    told: Callable[[str], None] = print,
) -> List[Row]:
    """Run each network in a training step, in one that recomputes, and in inference, with `batch` faces at a time.

    A row's ratios are to its own network's training. Raises ConfigError for what is not known, FaceSymbolsError where a
    contender fails.
    """
    check_counts(batch=batch)
    for network in networks:
        resolve(network)  # a wrong name is told at once
    rows: List[Row] = []
    for network in networks:
        contenders = {f'{network}, {way}': partial(_run, network, way, batch) for way in WAYS}
        rows += map(_compared, interleaved(contenders, rounds, told=told, warm=False))
    return rows


def _compared(row: Row) -> Row:
    return replace(row, ratios={name: row.ratios[name] for name in COMPARED})


def _run(network: str, way: str, batch: int) -> Dict[str, float]:
    """Run one contender and return its figures."""
    command = [sys.executable, '-m', 'tools.bench.memory_steps', network, way, str(batch)]
    told, peak, seconds = map(float, run_alone(f'{network}, {way}', command).split())
    return {'GB foretold': told, MEASURED: peak, 'measured / foretold': peak / told, SECONDS: seconds}
