"""Memory and time of a step of the classifier over a million identities: whole, sampled, and split over two workers.

Each contender is a process of its own, or a job of several, so that its peak is its own. Memory is that of the worker
that has the most, above what it has when mxnet is imported; time is a step of the training: loss, gradient and update.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping

from recognition.distributed.job_plan import Plan
from recognition.distributed.launcher import Job
from recognition.utils.processes import StopRequest
from tools.bench.process import run_alone
from tools.bench.rounds import Row, interleaved

WIDTH, BATCH, STEPS = 512, 128, 3
CONTENDERS: Mapping[str, Mapping[str, Any]] = {
    'whole': {},
    'in one part': {'fc7_sharded': True},
    'sampled, 0.1': {'sample_rate': 0.1},
    'over 2 workers': {'fc7_sharded': True, 'workers': 2},
    'over 4 workers': {'fc7_sharded': True, 'workers': 4},
    'over 2 workers, sampled, 0.1': {'sample_rate': 0.1, 'workers': 2},
}


def measure(rounds: int, *, identities: int = 1_000_000, told: Callable[[str], None] = print) -> List[Row]:
    """Train a few steps of 128 samples with each way to hold a classifier of `identities` x 512 in every round.

    The whole one takes 15 GB for a million identities. FaceSymbolsError where a process dies, for want of memory say.
    """
    contenders = {name: partial(_run, identities=identities, **how) for name, how in CONTENDERS.items()}
    return interleaved(contenders, rounds, told=told, warm=False)


def _run(*, identities: int, workers: int = 1, **settings: Any) -> Dict[str, float]:
    """Run one contender and return its figures."""
    wanted = {'num_classes': identities, 'emb_size': WIDTH, **settings}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'figures'
        command = [sys.executable, '-m', 'tools.bench.classifier_steps', json.dumps(wanted)]
        command += [str(BATCH), str(STEPS), str(out)]
        command = ['env', f'OMP_NUM_THREADS={max(1, (os.cpu_count() or 1) // workers)}', *command]
        if workers > 1:
            Job(Plan(command, workers, 1, Path(folder))).run(StopRequest())
        else:
            run_alone('a contender', command)
        found = [json.loads(path.read_text()) for path in Path(folder).glob('figures-*.json')]
    return {
        'GB of a worker': max(each['memory'] for each in found),
        'seconds a step': max(each['seconds'] for each in found),
    }
