"""A process that runs to its end, and what is said of one that failed."""

from __future__ import annotations

import subprocess
from typing import Sequence

from config.errors import FaceSymbolsError

REASONS = {-9: ' (no memory was left)'}  # by status


def run_alone(name: str, command: Sequence[str]) -> str:
    """Run a contender's command and return what it prints; FaceSymbolsError with its last line where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, errors='replace')
    if done.returncode:
        raise failure(name, done.returncode, done.stderr)
    return done.stdout


def failure(name: str, status: int, errors: str) -> FaceSymbolsError:
    """Return the error to raise for a contender that ended with a status, after it had printed `errors`."""
    last = (errors.strip().splitlines() or [''])[-1]
    return FaceSymbolsError(f'{name} ended with status {status}{REASONS.get(status, "")}; {last}')
