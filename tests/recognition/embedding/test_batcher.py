"""Requests are put together up to the limit, answered in their order, and never lost."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from config.errors import ConfigError
from recognition.embedding.batcher import Batcher
from tests.helpers.source import ROOT


class Gate:
    """Doubles rows, notes how many it saw, and waits at its first call until it is opened."""

    def __init__(self):
        self.seen, self.entered, self.opened = [], threading.Event(), threading.Event()

    def __call__(self, rows):
        self.seen.append(len(rows))
        self.entered.set()
        self.opened.wait(10)
        return 2 * rows


def rows(*values):
    return np.array(values, np.float64)[:, None]


def test_what_waits_runs_in_one_call_of_no_more_than_the_limit():
    gate = Gate()
    batcher = Batcher(gate, 4)
    first = batcher.submit(rows(0))
    gate.entered.wait(10)
    later = [batcher.submit(rows(*values)) for values in ([1], [2, 3], [4, 5], [6])]
    gate.opened.set()
    assert [each.wait(10)[:, 0].tolist() for each in (first, *later)] == [[0], [2], [4, 6], [8, 10], [12]]
    assert gate.seen == [1, 3, 3]


def test_closing_ends_the_thread_and_cancels_what_waits():
    gate = Gate()
    batcher = Batcher(gate, 1)
    running = batcher.submit(rows(1))
    gate.entered.wait(10)
    waiting = [batcher.submit(rows(number)) for number in range(4)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    gate.opened.set()
    closing.join(10)
    assert not closing.is_alive()
    assert running.wait(10).tolist() == [[2]]
    for each in waiting:
        with pytest.raises(ConfigError, match='closed'):
            each.wait(10)
    with pytest.raises(ConfigError, match='closed'):
        batcher.submit(rows(1))


def test_an_error_reaches_those_who_asked_and_nobody_else():
    def fails(given):
        if given.min() < 0:
            raise ValueError('below zero')
        return given

    batcher = Batcher(fails, 1)
    asked = [batcher.submit(rows(number)) for number in (1, -1, 2)]
    assert asked[0].wait(10).tolist() == [[1]]
    with pytest.raises(ValueError, match='below zero'):
        asked[1].wait(10)
    assert asked[2].wait(10).tolist() == [[2]]


INTERRUPTED_CALLS = """
import random, signal, threading, time
import numpy as np
from recognition.embedding.batcher import Batcher

def interrupt(*_):
    raise KeyboardInterrupt

def call():
    while time.monotonic() < end:
        batcher.submit(np.ones((2, 1))).wait()

batcher, random, end, count = Batcher(lambda rows: 2 * rows, 4), random.Random(0), time.monotonic() + 3, 0
threads = [threading.Thread(target=call, daemon=True) for _ in range(4)]
signal.signal(signal.SIGALRM, interrupt)
for thread in threads:
    thread.start()
while time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 5e-4))
        while True:
            batcher.submit(np.ones((1, 1))).wait()
    except KeyboardInterrupt:
        count += 1
signal.setitimer(signal.ITIMER_REAL, 0)
for thread in threads:
    thread.join(10)
print(count > 100, [thread.is_alive() for thread in threads], batcher.submit(np.full((1, 1), 3.0)).wait())
"""


def test_interrupts_at_any_moment_leave_the_worker_alive():
    """A KeyboardInterrupt inside `threading.Condition` can release or keep the lock of another thread."""
    run = [sys.executable, '-W', 'ignore', '-c', INTERRUPTED_CALLS]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ('True [False, False, False, False] [[6.]]\n', '')
