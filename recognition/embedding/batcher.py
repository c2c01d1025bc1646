"""Dynamic batching: requests of several threads, merged into batches for one worker thread.

Threads and the worker share nothing but `queue.SimpleQueue`, whose lock is in C. A KeyboardInterrupt inside
`threading.Condition`, and so inside `queue.Queue` and `concurrent.futures.Future`, can leave its lock held or release
that of another thread: in an hour with Ctrl-C about every second, one worker ended with "release unlocked lock" and
another hung.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Callable, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from config.errors import ConfigError

CLOSED_MESSAGE = 'the embedder is closed'
FORK_MESSAGE = 'an embedder does not go into another process: load it in each, after the fork'
BatchFunction = Callable[[np.ndarray], np.ndarray]
_locks: weakref.WeakSet[Any] = weakref.WeakSet()  # RLocks, each held by a worker thread while it computes


def _pause_workers() -> None:
    """Pause all batchers for a fork: MXNet stops its engine then, and waits forever for a thread that uses it."""
    for lock in sorted(_locks, key=id):
        lock.acquire()


def _resume_workers() -> None:
    for lock in _locks:
        with suppress(RuntimeError):  # not acquired: Ctrl-C came first
            lock.release()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(
        before=_pause_workers, after_in_parent=_resume_workers, after_in_child=_resume_workers
    )


class BatchResult:
    """The result of a request, which arrives later."""

    def __init__(self) -> None:
        self._outcome: SimpleQueue[Union[np.ndarray, BaseException]] = SimpleQueue()

    def set(self, outcome: Union[np.ndarray, BaseException]) -> None:
        """Deliver the rows, or the error that is raised in the thread that waits."""
        self._outcome.put(outcome)

    def wait(self, timeout: Optional[float] = None) -> np.ndarray:
        """Return the rows, float (n, D), or raise the error; once. Raises `queue.Empty` after `timeout` seconds."""
        outcome = self._outcome.get(timeout=timeout)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class BatchRequest(NamedTuple):
    """Rows (n, ...) to compute on, and where their result (n, D) is expected."""

    rows: np.ndarray
    result: BatchResult


class RequestQueue(SimpleQueue[Optional[BatchRequest]]):
    """The requests that wait, with None at their end. stopped: whether the batcher is closed."""

    stopped = False


class Batcher:
    """Run a function of up to `max_rows` rows in a worker thread; all requests that wait are merged into one call.

    Any thread of the process that created it may use it. No request is delayed to wait for others.
    """

    def __init__(self, function: BatchFunction, max_rows: int) -> None:
        self._queue = RequestQueue()
        self._process = os.getpid()
        lock = threading.RLock()
        _locks.add(lock)
        # the thread has no reference to this object, so it ends when the last user's reference goes
        worker = threading.Thread(
            target=_work, args=(self._queue, lock, function, max_rows), name='embedder', daemon=True
        )
        worker.start()
        self.close = weakref.finalize(self, _stop, self._queue, worker)

    def submit(self, rows: np.ndarray) -> BatchResult:
        """Queue 1 to `max_rows` rows. Raises ConfigError if the batcher is closed, and in a forked process."""
        if self._process != os.getpid():
            raise ConfigError(FORK_MESSAGE)
        request = BatchRequest(rows, BatchResult())
        self._queue.put(request)
        if self._queue.stopped:  # the thread may have ended without seeing the request
            raise ConfigError(CLOSED_MESSAGE)
        return request.result


def _stop(queue: RequestQueue, worker: threading.Thread) -> None:
    queue.stopped = True
    queue.put(None)
    if worker is not threading.current_thread():
        worker.join()


def _work(queue: RequestQueue, lock: Any, function: BatchFunction, max_rows: int) -> None:
    left: Optional[BatchRequest] = None  # the request that did not fit into the last batch
    while True:
        first = left or queue.get()
        if first is None or queue.stopped:
            _cancel(first, queue)
            return
        requests, left, ended = _gather(first, queue, max_rows)
        with lock:
            _answer(requests, function)
        if ended:
            _cancel(left, queue)
            return


def _gather(
    first: BatchRequest, queue: RequestQueue, max_rows: int
) -> Tuple[List[BatchRequest], Optional[BatchRequest], bool]:
    """Return the requests of the next batch, the first that does not fit, and whether the queue has ended."""
    requests, count = [first], len(first.rows)
    while count < max_rows:
        try:
            request = queue.get_nowait()
        except Empty:
            break
        if request is None:
            return requests, None, True
        count += len(request.rows)
        if count > max_rows:
            return requests, request, False
        requests.append(request)
    return requests, None, False


def _answer(requests: List[BatchRequest], function: BatchFunction) -> None:
    try:
        alone = len(requests) == 1
        found = function(requests[0].rows if alone else np.concatenate([each.rows for each in requests]))
    except BaseException as error:  # raised again in the threads that wait for results
        for request in requests:
            request.result.set(error)
        return
    start = 0
    for request in requests:
        request.result.set(found[start : start + len(request.rows)])
        start += len(request.rows)


def _cancel(first: Optional[BatchRequest], queue: RequestQueue) -> None:
    while True:
        if first is not None:
            first.result.set(ConfigError(CLOSED_MESSAGE))
        try:
            first = queue.get_nowait()
        except Empty:
            return
