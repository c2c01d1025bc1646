"""A contender's process: it takes turns, it may print what it likes, and its death is told in a sentence."""

from __future__ import annotations

import os
import sys

import pytest

from config.errors import FaceSymbolsError
from tools.bench.turns import Turns

PROGRAM = """
import os, sys, time
from tools.bench.turns import claim_output, serve

replies = claim_output()
print('a word that is no answer', flush=True)
count = 0

def batch():
    global count
    count += 1
    time.sleep(0.01)
    if count > int(sys.argv[1]):
        raise ValueError('no more')

print('threads', os.environ.get('OMP_NUM_THREADS'), os.environ.get('DNNL_PRIMITIVE_CACHE_CAPACITY'), flush=True)
serve(replies, batch)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    (tmp_path / 'contender.py').write_text(PROGRAM)
    paths = [str(tmp_path), os.getcwd(), *filter(None, [os.environ.get('PYTHONPATH')])]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(paths))
    started = []

    def starting(limit, ours=False, threads=3):
        turns = Turns('ours', 'contender', [str(limit)], threads=threads, ours=ours, log=tmp_path / 'log')
        started.append(turns)
        return turns

    yield starting
    for turns in started:
        turns.close()


@pytest.mark.parametrize(
    ('ours', 'threads', 'told'), [(False, 3, '3 1024'), (True, 3, '3 0'), (True, None, 'None 0')]
)
def test_a_turn_gives_the_seconds_of_a_batch(start, tmp_path, ours, threads, told):
    turns = start(100, ours, threads)
    assert all(0.01 <= turns.seconds(least) < 1 for least in (0, 0.05))
    turns.close()
    assert turns._process.returncode == 0
    assert (tmp_path / 'log').read_text().splitlines() == ['a word that is no answer', f'threads {told}']


def test_a_death_is_told_with_its_last_words(start):
    turns = start(1)
    turns.seconds(0)
    for _ in range(2):
        with pytest.raises(FaceSymbolsError, match='ours ended with status 1; ValueError: no more'):
            turns.seconds(0)


def test_a_process_that_never_gets_ready_is_told(tmp_path):
    with pytest.raises(
        FaceSymbolsError, match=f'ours ended with status 1; {sys.executable}: No module named'
    ):
        Turns('ours', 'no_such_module', [], threads=1, ours=False, log=tmp_path / 'log')
