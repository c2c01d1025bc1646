"""What a contender's process measures of itself."""

from __future__ import annotations

import mmap
import time

import numpy as np

from tools.bench.steps import memory, seconds


def test_memory_is_that_of_this_process():
    before = memory('now')
    held = np.frombuffer(mmap.mmap(-1, 200_000_000), np.uint8)  # no memory that an allocator had kept
    held[:] = 1
    assert 0.18 < memory('now') - before < 0.25
    assert memory('peak') >= before + held.nbytes / 1e9 - 0.02


def test_seconds_are_those_of_the_step():
    assert 0.05 <= seconds(lambda: time.sleep(0.05)) < 1
