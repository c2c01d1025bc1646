from __future__ import annotations

import sys

import pytest

from config.errors import FaceSymbolsError
from tools.bench.process import run_alone


def test_what_is_printed_is_returned():
    assert run_alone('ours', [sys.executable, '-c', 'print(1, 2)']).split() == ['1', '2']


@pytest.mark.parametrize(
    ('program', 'words'),
    [
        ('print(1); raise ValueError("no more")', 'ours ended with status 1; ValueError: no more'),
        ('raise SystemExit(3)', 'ours ended with status 3; '),
        ('import os; os.kill(os.getpid(), 9)', r'ours ended with status -9 \(no memory was left\); '),
    ],
)
def test_a_failure_is_told_in_a_sentence(program, words):
    with pytest.raises(FaceSymbolsError, match=f'^{words}$'):
        run_alone('ours', [sys.executable, '-c', program])
