"""Processes that read the images of batches into memory that they share with the caller (recognition.loader).

Only a few bytes pass through the executor's pipes: less to copy, and no half-sent batch can block the caller when a
worker is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
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
    # A signal before a worker can tell whom it is for would end it: hold both back until then.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
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
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # SIGTERM is left to _end_with
    load_cv2().setNumThreads(0)  # the workers share the cores already
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _worker = (filler, slots)


def _end_with(parent: int) -> None:
    """End this worker when its parent says so by SIGTERM, or has been killed: nobody would give it work or end it.

    A SIGTERM from elsewhere is one to a whole group of processes, of which the parent makes an orderly end: it may
    still want batches.
    """
    while os.getppid() == parent:
        told = signal.sigtimedwait({signal.SIGTERM}, _PARENT_CHECK)
        if told and told.si_pid == parent:
            break
    os._exit(1)


def fill_slot(slot: int, epoch: int, position: int, indices: np.ndarray) -> Filled:
    """Write images `indices` to a slot, in a worker; the rest as `Filler.fill` has it."""
    filler, slots = _worker
    return filler.fill(slots[slot], epoch, position, indices)
