"""The program that writes a run's report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_prefix_without_a_run_is_one_sentence(tmp_path):
    command = [sys.executable, str(ROOT / 'tools' / 'report.py'), str(tmp_path / 'model')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode not in (0, -6, -11)
    assert 'model-config.json does not exist' in done.stderr
    assert 'Traceback' not in done.stderr
