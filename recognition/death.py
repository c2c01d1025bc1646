"""A process that dies with the one that started it."""

from __future__ import annotations

import ctypes
import signal

SIGNAL_OF_PARENTS_DEATH = 1  # prctl's PR_SET_PDEATHSIG


def die_with_parent() -> None:
    """Have the system kill this process when its parent is killed; a word would not do, for it may be waiting.

    For the `preexec_fn` of subprocess.
    """
    ctypes.CDLL(None).prctl(SIGNAL_OF_PARENTS_DEATH, signal.SIGKILL)
