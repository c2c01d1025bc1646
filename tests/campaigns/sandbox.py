"""Subprocesses with limits of time and memory, and what they came to."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Mapping, NamedTuple, Optional, Sequence, Union

ROOT = Path(__file__).parents[2]
TRACEBACKS = ('Traceback (most recent call last)', 'Exception ignored', 'terminate called')


class Result(NamedTuple):
    """What a program came to: 'right' (status 0), 'refused' (another one, and a sentence), 'hang' or 'crash'."""

    outcome: str
    stdout: str
    stderr: str
    status: int  # negative: of the signal that ended it


def limited(memory_bytes: Optional[int]) -> None:
    """Limit the address space of this process, and leave no core files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, resource.RLIM_INFINITY))


def run(
    argv_or_code: Union[str, Sequence[object]],
    seconds: float,
    memory_bytes: Optional[int] = None,
    *,
    env: Optional[Mapping[str, str]] = None,
    cwd: Union[str, Path] = ROOT,
) -> Result:
    """Run a program, or code in a Python of its own, in a group of processes that ends with it.

    memory_bytes: of address space. env: variables added to those of this process.
    """
    argv = (
        [sys.executable, '-W', 'ignore', '-c', argv_or_code]
        if isinstance(argv_or_code, str)
        else argv_or_code
    )
    process = subprocess.Popen(
        [os.fspath(word) if isinstance(word, Path) else str(word) for word in argv],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors='replace',
        start_new_session=True,
        preexec_fn=lambda: limited(memory_bytes),
    )
    try:
        stdout, stderr = process.communicate(timeout=seconds)
        outcome = outcome_of(process.returncode, stderr)
    except subprocess.TimeoutExpired:
        outcome = 'hang'
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if outcome == 'hang':
        stdout, stderr = process.communicate()
    return Result(outcome, stdout, stderr, process.returncode)


def outcome_of(status: int, stderr: str) -> str:
    """Return what the end of a program is called."""
    if status < 0 or any(words in stderr for words in TRACEBACKS):
        return 'crash'
    return 'refused' if status else 'right'
