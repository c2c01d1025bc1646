"""A contender in a process of its own, which is asked for one turn after another; both ends of it.

Threads of one engine that wait for work do not stand in another's way then, and each has the environment it wants.
Parent and process talk in lines: the process says READY, gets a number of seconds, works for as long, answers the
seconds that a batch took, and so on until it is left alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, TextIO, cast

from config.compat import ONEDNN_CACHE, THREADS
from tools.bench.process import failure

READY = 'ready'
ONEDNN_DEFAULT = '1024'  # compiled operators that are kept
PATIENCE = 30.0  # seconds that a process may take to end
LIBRARIES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')


class Turns:
    """The parent's end: starts `python -m MODULE WORDS...`, and waits until it is ready.

    threads: None, as many as its libraries take by themselves, MXNet among them. ours: whether oneDNN is set as this
    project sets it, rather than left at its default. log: a file for what the process prints. FaceSymbolsError, with
    the last line of that, where the process dies.
    """

    def __init__(
        self, name: str, module: str, words: Sequence[str], *, threads: Optional[int], ours: bool, log: Path
    ) -> None:
        self.name, self._log = name, log
        with open(log, 'w') as errors:
            self._process = subprocess.Popen(
                [sys.executable, '-m', module, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=_environment(threads, ours),
            )
        self._asks, self._answers = cast(TextIO, self._process.stdin), cast(TextIO, self._process.stdout)
        self._answer()

    def seconds(self, least: float) -> float:
        """Let it work for at least so many seconds, and one batch; return the seconds that a batch took."""
        with suppress(BrokenPipeError):  # it is dead, and the answer will tell of what
            self._asks.write(f'{least}\n')
            self._asks.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._asks.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()

    def _answer(self) -> str:
        line = self._answers.readline()
        if not line:
            raise failure(self.name, self._process.wait(), self._log.read_text(errors='replace'))
        return line.strip()


def _environment(threads: Optional[int], ours: bool) -> Dict[str, str]:
    """Return our environment with a number of threads, and oneDNN's cache as the contender would have it alone.

    PyTorch reads the same variable as MXNet, which this project sets for MXNet's sake (config.compat).
    """
    cache = {ONEDNN_CACHE: '0' if ours else ONEDNN_DEFAULT}
    if threads is not None:
        return {**os.environ, **cache, **dict.fromkeys(LIBRARIES, str(threads))}
    inherited = {name: value for name, value in os.environ.items() if name not in LIBRARIES}
    return {**inherited, **cache, THREADS: ''}  # which is to MXNet as if it were not set


def claim_output() -> TextIO:
    """Return the process's standard output for `serve`; whatever else is printed goes where errors go."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return replies


def serve(replies: TextIO, batch: Callable[[], object]) -> None:
    """The process's end: say that it is ready, and take turns until there is no one who asks."""
    print(READY, file=replies, flush=True)
    for line in sys.stdin:
        count, begin, taken = 0, time.perf_counter(), 0.0
        while not count or taken < float(line):
            batch()
            count, taken = count + 1, time.perf_counter() - begin
        print(taken / count, file=replies, flush=True)
