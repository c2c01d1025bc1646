"""The program around recognition.cleaning: its words, and mistakes in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recognition.commands.clean import histogram

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / 'tools' / 'clean_subcentres.py'


def test_histogram():
    assert histogram(np.array([0.0, 14.9, 15.0, 50.0])).splitlines() == [
        '   0 to  15 degrees          2',
        '  15 to  30 degrees          1',
        '  30 to  45 degrees          0',
        '  45 to  60 degrees          1',
    ]


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--model', 'none,1', '--dataset-path', 'nowhere', '--output', 'out'], 'there is no folder nowhere'),
        (['--model', 'none', '--dataset-path', 'nowhere', '--output', 'out'], '--model'),
        (['--model', 'none,1', '--dataset-path', 'nowhere', '--output', '.'], '. already exists'),
        (
            ['--model', 'none,1', '--dataset-path', '.', '--output', 'out', '--batch-size', '0'],
            "--batch-size: '0' is not a whole number",
        ),
    ],
)
def test_mistakes_are_one_sentence(arguments, sentence, tmp_path):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode not in (0, -6, -11)
    assert sentence in done.stderr
    assert 'Traceback' not in done.stderr
    assert list(tmp_path.iterdir()) == []
