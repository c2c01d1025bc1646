"""What the process of a contender measures of its own steps: memory and time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable

import mxnet as mx

NUMBERS = {'now': 'VmRSS', 'peak': 'VmHWM'}  # in /proc/self/status, in kB


def memory(which: str) -> float:
    """Return the resident memory of this process in GB (10^9 bytes), 'now' or its 'peak' so far."""
    lines = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    return int(lines[NUMBERS[which]].split()[0]) * 1024 / 1e9


def seconds(step: Callable[[], object]) -> float:
    """Return the seconds that a step takes, all that it has given mxnet to do included."""
    begin = time.perf_counter()
    step()
    mx.nd.waitall()
    return time.perf_counter() - begin
