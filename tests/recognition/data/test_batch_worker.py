"""The processes that decode: they end with the loader and with the program, and a killed one is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from config.errors import DataError
from recognition.data.dataset import FaceDataset, FaceLoader
from tests.helpers.noise import write_noise

import mxnet as mx


@pytest.fixture
def folder(tmp_path):
    return write_noise(tmp_path / 'faces')


def gone(pid):
    """Whether a process has ended (or waits as a zombie for its parent)."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] == 'Z'
    except FileNotFoundError:
        return True


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


class Slow:
    """An augmentation that takes its time, so that work is under way whenever something ends."""

    def __call__(self, image, rng):
        time.sleep(0.01)
        return image


def workers_of(loader):
    return list(loader._pool._processes)


def test_workers_start_with_the_loader_and_end_with_it(folder):
    mx.nd.ones((64, 64)).asnumpy()  # mxnet's engine has threads by now
    loader = FaceLoader(FaceDataset(folder), 4, Slow(), workers=2)
    pids = workers_of(loader)
    assert len(pids) == 2
    assert not any(gone(pid) for pid in pids)
    next(loader.epoch(0))
    loader.close()
    loader.close()
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize('busy', [False, True])
def test_a_killed_worker_is_a_sentence_and_not_a_hang(folder, busy):
    with FaceLoader(FaceDataset(folder), 4, Slow(), workers=2) as loader:
        pids = workers_of(loader)
        batches = loader.epoch(0)
        if busy:
            next(batches)
        os.kill(pids[0], signal.SIGKILL)
        with pytest.raises(DataError, match=r'a worker that decodes the images of .*faces was killed'):
            list(batches)
        with pytest.raises(DataError, match='was killed'):
            list(loader.epoch(1))
    assert all(gone(pid) for pid in pids)


PROGRAM = """
import sys, time
import numpy as np
from recognition.cli import run
from recognition.data import FaceDataset, FaceLoader

class Slow:
    def __call__(self, image, rng):
        time.sleep(0.02)
        return image

def main():
    with FaceLoader(FaceDataset(sys.argv[1]), 4, Slow(), workers=2) as loader:
        print(*loader._pool._processes, flush=True)
        epoch = 0
        while True:
            for _ in loader.epoch(epoch):
                pass
            epoch += 1

run(main)
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_an_interrupted_or_killed_program(folder, number):
    program = subprocess.Popen(
        [sys.executable, '-c', PROGRAM, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = [int(pid) for pid in program.stdout.readline().split()]
    assert len(pids) == 2
    time.sleep(0.3)
    if number == signal.SIGINT:
        os.killpg(program.pid, number)  # as Ctrl-C in a terminal does: to all of them
    else:
        program.kill()
    _, errors = program.communicate(timeout=30)
    assert wait_until(lambda: all(gone(pid) for pid in pids))
    if number == signal.SIGINT:
        assert program.returncode == 130
        assert errors == 'interrupted\n'


ENDS_IN_ORDER = """
import sys
from recognition.data import FaceDataset, FaceLoader
from recognition.utils.processes import stop_requests

with stop_requests() as stop, FaceLoader(FaceDataset(sys.argv[1]), 4, workers=2) as loader:
    print('ready', flush=True)
    while not stop:
        count = sum(1 for _ in loader.epoch(0))
    print(stop.name, sum(1 for _ in loader.epoch(0)) == count)
"""


def test_a_word_to_the_whole_group_leaves_the_program_its_workers_until_it_ends(folder):
    program = subprocess.Popen(
        [sys.executable, '-c', ENDS_IN_ORDER, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout.readline() == 'ready\n'
    time.sleep(0.3)
    os.killpg(program.pid, signal.SIGTERM)  # as a launcher or a batch system does
    assert program.communicate(timeout=30) == ('SIGTERM True\n', '')


def test_a_worker_needs_no_mxnet():
    check = 'import sys, recognition.data, recognition.data.augment; sys.exit("mxnet" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', check], check=False).returncode == 0
