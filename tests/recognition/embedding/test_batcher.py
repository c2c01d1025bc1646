"""Requests are put together up to the limit, answered in their order, and never lost."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest

from config.errors import ConfigError
from recognition.embedding.batcher import WAITING, Batcher


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
    assert [each.result(10)[:, 0].tolist() for each in (first, *later)] == [[0], [2], [4, 6], [8, 10], [12]]
    assert gate.seen == [1, 3, 3]


def test_no_more_than_a_few_requests_wait():
    gate = Gate()
    batcher = Batcher(gate, 1)
    batcher.submit(rows(0))
    gate.entered.wait(10)
    with ThreadPoolExecutor(1) as pool:
        for number in range(WAITING):
            batcher.submit(rows(number))
        blocked = pool.submit(batcher.submit, rows(9))
        with pytest.raises(Exception):  # noqa: B017, PT011 (concurrent.futures' TimeoutError has two homes)
            blocked.result(0.3)
        gate.opened.set()
        assert blocked.result(10).result(10).tolist() == [[18]]


def test_closing_ends_the_thread_and_cancels_what_waits():
    gate = Gate()
    batcher = Batcher(gate, 1)
    running = batcher.submit(rows(1))
    gate.entered.wait(10)
    waiting = [batcher.submit(rows(number)) for number in range(WAITING)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    gate.opened.set()
    closing.join(10)
    assert not closing.is_alive()
    assert running.result(10).tolist() == [[2]]
    for each in waiting:
        with pytest.raises(CancelledError):
            each.result(10)
    with pytest.raises(ConfigError, match='closed'):
        batcher.submit(rows(1))


def test_an_error_reaches_those_who_asked_and_nobody_else():
    def fails(given):
        if given.min() < 0:
            raise ValueError('below zero')
        return given

    batcher = Batcher(fails, 1)
    asked = [batcher.submit(rows(number)) for number in (1, -1, 2)]
    assert asked[0].result(10).tolist() == [[1]]
    with pytest.raises(ValueError, match='below zero'):
        asked[1].result(10)
    assert asked[2].result(10).tolist() == [[2]]
