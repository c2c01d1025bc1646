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
from pathlib import Path
from typing import Callable, Dict, Sequence, TextIO

from config.compat import ONEDNN_CACHE
from config.errors import FaceSymbolsError

READY = 'ready'
PATIENCE = 30.0  # seconds that a process may take to end
THREADS = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')


class Turns:
    """The parent's end: starts `python -m MODULE WORDS...`, and waits until it is ready.

    log: a file for what the process prints. FaceSymbolsError, with the last line of that, where the process dies.
    """

    def __init__(self, name: str, module: str, words: Sequence[str], *, threads: int, log: Path) -> None:
        self.name, self._log = name, log
        with open(log, 'w') as errors:
            self._process = subprocess.Popen(
                [sys.executable, '-m', module, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=_environment(threads),
            )
        self._answer()

    def seconds(self, least: float) -> float:
        """Let it work for at least so many seconds, and one batch; return the seconds that a batch took."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f'{least}\n')
            self._process.stdin.flush()
        except BrokenPipeError:  # it is dead, and the answer will tell of what
            pass
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            last = (self._log.read_text(errors='replace').strip().splitlines() or [''])[-1]
            raise FaceSymbolsError(f'{self.name} ended with status {status}; {last}')
        return line.strip()


def _environment(threads: int) -> Dict[str, str]:
    """Return ours with a number of threads, and without what `import symbols` has set for oneDNN.

    A contender that imports symbols gets that again; PyTorch and MXNet alone have their own default.
    """
    environment = {key: value for key, value in os.environ.items() if key != ONEDNN_CACHE}
    return {**environment, **dict.fromkeys(THREADS, str(threads))}


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
