"""Tests of other programs on files that were exported here; they run in an environment that has those programs.

`make test-consumers` builds it, writes the files (write_models.py) and names their folder in CONSUMER_MODELS; without
that nothing is collected here.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

FOLDER = os.environ.get('CONSUMER_MODELS')
collect_ignore_glob = [] if FOLDER else ['test_*.py']
least = {}  # (program, network) -> the least cosine


@pytest.fixture(scope='session')
def models():
    return Path(FOLDER)


@pytest.fixture(scope='session')
def held(models):
    """Faces, uint8 RGB (100, 112, 112, 3), and MXNet's embeddings of them by preset."""
    with np.load(models / 'faces.npz') as file:
        return dict(file)


def pytest_terminal_summary(terminalreporter):
    if not least:
        return
    programs, networks = (sorted({key[axis] for key in least}) for axis in (0, 1))
    for program in programs:
        row = [f'{least.get((program, network), float("nan")):.8f}' for network in networks]
        terminalreporter.write_line(f'| {program} | {" | ".join(row)} |')
    terminalreporter.write_line(f'(least cosines to MXNet of {", ".join(networks)})')
