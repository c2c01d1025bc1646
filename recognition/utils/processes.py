"""Ctrl-C and SIGTERM as a request that a loop can honour between two steps; children that end with their parent."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import signal
import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional

logger = logging.getLogger(__name__)

SIGNAL_OF_PARENTS_DEATH = 1  # prctl's PR_SET_PDEATHSIG
INTERRUPTED = 130  # the shell's convention for a program that Ctrl-C ended
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """True once a signal has asked to stop; `name` is that signal's."""

    def __init__(self) -> None:
        self.name: Optional[str] = None

    def __bool__(self) -> bool:
        return self.name is not None

    def _handle(self, number: int, _frame: Any) -> None:
        if self:  # asked twice: do not wait for the step
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM within the block into a StopRequest; a second raises KeyboardInterrupt.

    Python lets the main thread alone handle signals, so in any other thread nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _SignalStack(ctypes.Structure):
    """POSIX's stack_t: where a thread's signal handlers run. It is kept as it is, in whose order its fields may be."""

    _fields_ = (('pointer', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Give this thread its own alternate signal stack back after the block.

    OpenVINO 2026.4 leaves one behind that is no longer valid once a model is compiled. Python's handlers run on the
    alternate stack, so the next Ctrl-C would end the process with a segmentation fault.
    """
    if os.name != 'posix':
        yield
        return
    library, before = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)


def die_with_parent() -> Optional[Callable[[], None]]:
    """Return a `preexec_fn` of subprocess that has the system kill the child when its parent is killed.

    A word would not do, for the child may be waiting. None where the system cannot: Linux alone does it.
    """
    if platform.system() != 'Linux':
        return None
    return lambda: ctypes.CDLL(None).prctl(SIGNAL_OF_PARENTS_DEATH, signal.SIGKILL)


def decoding_processes(wanted: int) -> int:
    """Return how many processes may decode images: `wanted`, or none, with a warning, where this one must do it.

    They take over an open data set by fork and wait for a signal whose sender they learn, as Linux offers it.
    """
    if wanted and not hasattr(signal, 'sigtimedwait'):
        logger.warning(
            'images are decoded in one process, since %s has no way to share them', platform.system()
        )
        return 0
    return wanted
