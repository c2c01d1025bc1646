"""Processes that read the images of batches into memory that they share with the caller (recognition.loader).

Only a few bytes pass through the executor's pipes: less to copy, and no half-sent batch can block the caller when a
worker is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, wait
from typing import Tuple

import numpy as np

from recognition.decoding import Filled, Filler
from recognition.images import load_cv2

_PARENT_CHECK = 1.0  # seconds


def start_pool(workers: int, filler: Filler, slots: np.ndarray) -> ProcessPoolExecutor:
    """Start all workers now, whose task is `fill_slot`; they inherit the data set and the slots by fork.

    slots: uint8 (K, N, 3, H, W), in memory that a fork shares.
    """
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context('fork'),
        initializer=_start_worker,
        initargs=(filler, slots, os.getpid()),
    )
    # A Ctrl-C before a worker ignores it would end that worker with a traceback: hold it back until then.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        ready = [pool.submit(os.getpid) for _ in range(workers)]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    wait(ready)
    return pool


_worker: Tuple[Filler, np.ndarray]  # set once in each worker: an executor's tasks can reach no other state


def _start_worker(filler: Filler, slots: np.ndarray, parent: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the caller's handler is not for them
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    load_cv2().setNumThreads(0)  # the workers share the cores already
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    _worker = (filler, slots)


def _die_with(parent: int) -> None:
    """End this worker when its parent has been killed: nobody would ever give it work or end it."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK)
    os._exit(1)


def fill_slot(slot: int, epoch: int, position: int, indices: np.ndarray) -> Filled:
    """Write images `indices` to a slot, in a worker; the rest as `Filler.fill` has it."""
    filler, slots = _worker
    return filler.fill(slots[slot], epoch, position, indices)
