"""Requests of several threads, put together into batches for one that works."""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from config.errors import ConfigError

WAITING = 4  # requests; whoever brings another one waits until there is room
CLOSED = 'the embedder is closed'
OTHER_PROCESS = 'an embedder does not go into another process: load it in each, after the fork'
POLL = 0.1  # seconds between two looks at whether it is closed
Function = Callable[[np.ndarray], np.ndarray]
_locks: weakref.WeakSet[Any] = weakref.WeakSet()  # RLocks, each held by a thread while it works
_held: List[List[Any]] = []  # by forks


def _wait_for_work() -> None:
    """Let no batcher work during a fork: MXNet stops its engine then, and waits for ever for a thread that uses it."""
    locks = sorted(_locks, key=id)
    for lock in locks:
        lock.acquire()
    _held.append(locks)


def _let_work() -> None:
    for lock in _held.pop():
        lock.release()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(before=_wait_for_work, after_in_parent=_let_work, after_in_child=_let_work)


class Request(NamedTuple):
    """Rows (n, ...) to work on, and where the result (n, D) is awaited."""

    rows: np.ndarray
    future: Future[np.ndarray]


class Batcher:
    """Runs a function of up to `most` rows in a thread of its own; whatever waits by then runs in one call.

    It may be used from any thread of the process that made it. No request waits for others to come.
    """

    def __init__(self, function: Function, most: int) -> None:
        self._queue: Queue[Optional[Request]] = Queue(WAITING)
        self._stopped = threading.Event()
        self._process = os.getpid()
        lock = threading.RLock()
        _locks.add(lock)
        # the thread knows nothing of this object, so that it ends when nobody else does
        worker = threading.Thread(
            target=_work,
            args=(self._queue, self._stopped, lock, function, most),
            name='embedder',
            daemon=True,
        )
        worker.start()
        self.close = weakref.finalize(self, _stop, self._queue, self._stopped, worker)

    def submit(self, rows: np.ndarray) -> Future[np.ndarray]:
        """Ask for the result of 1 to `most` rows; ConfigError once it is closed, and in a forked process."""
        if self._process != os.getpid():
            raise ConfigError(OTHER_PROCESS)
        request = Request(rows, Future())
        placed = False
        while not (placed or self._stopped.is_set()):
            with suppress(Full):
                self._queue.put(request, timeout=POLL)
                placed = True
        # the thread may have ended since, without having seen it
        if self._stopped.is_set() and (request.future.cancel() or request.future.cancelled()):
            raise ConfigError(CLOSED)
        return request.future


def _stop(queue: Queue[Optional[Request]], stopped: threading.Event, worker: threading.Thread) -> None:
    stopped.set()
    while worker.is_alive() and worker is not threading.current_thread():
        with suppress(Full):
            queue.put(None, timeout=POLL)
            worker.join()


def _work(
    queue: Queue[Optional[Request]], stopped: threading.Event, lock: Any, function: Function, most: int
) -> None:
    left: Optional[Request] = None  # what did not fit into the last batch
    while True:
        first = left or queue.get()
        if first is None or stopped.is_set():
            _cancel(first, queue)
            return
        requests, left, ended = _gather(first, queue, most)
        with lock:
            _answer(requests, function)
        if ended:
            _cancel(left, queue)
            return


def _gather(
    first: Request, queue: Queue[Optional[Request]], most: int
) -> Tuple[List[Request], Optional[Request], bool]:
    """Return the requests of the next batch, one that comes after it, and whether that was the end."""
    requests, count = [first], len(first.rows)
    while count < most:
        try:
            request = queue.get_nowait()
        except Empty:
            break
        if request is None:
            return requests, None, True
        count += len(request.rows)
        if count > most:
            return requests, request, False
        requests.append(request)
    return requests, None, False


def _answer(requests: List[Request], function: Function) -> None:
    asked = [request for request in requests if request.future.set_running_or_notify_cancel()]
    if not asked:
        return
    try:
        alone = len(asked) == 1
        found = function(asked[0].rows if alone else np.concatenate([request.rows for request in asked]))
    except BaseException as error:  # whoever asked is to see it
        for request in asked:
            request.future.set_exception(error)
        return
    start = 0
    for request in asked:
        request.future.set_result(found[start : start + len(request.rows)])
        start += len(request.rows)


def _cancel(first: Optional[Request], queue: Queue[Optional[Request]]) -> None:
    while True:
        if first is not None:
            first.future.cancel()
        try:
            first = queue.get_nowait()
        except Empty:
            return
