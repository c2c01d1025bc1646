"""The memory that the audit foretells beside the peak of a process, for networks in inference and in training.

Each contender is a process of its own, so that its peak is its own, above what it has when mxnet is imported.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Callable, Dict, List

from recognition.bench.process import run_alone
from recognition.bench.rounds import Row, interleaved

NETWORKS = ('r18', 'r50', 'd121', 'xception', 'y1')
BATCH = 8
WAYS = ('inference', 'training', 'recompute')


def measure(rounds: int, *, told: Callable[[str], None] = print) -> List[Row]:
    """Run each network in inference, in a training step, and in one that recomputes, with 8 faces at a time."""
    contenders = {f'{network}, {way}': partial(_run, network, way) for network in NETWORKS for way in WAYS}
    return interleaved(contenders, rounds, told=told, warm=False)


def _run(network: str, way: str) -> Dict[str, float]:
    """Run one contender and return its figures."""
    command = [sys.executable, '-m', 'recognition.bench.memory_steps', network, way, str(BATCH)]
    told, peak, seconds = map(float, run_alone(f'{network}, {way}', command).split())
    return {'GB foretold': told, 'GB measured': peak, 'measured / foretold': peak / told, 'seconds': seconds}
