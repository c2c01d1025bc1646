"""A process of a job that stands still is named, and one that is done is no fault, however long others still work."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from config.errors import FaceSymbolsError
from recognition.distributed.heartbeat import Listener
from tests.helpers.jobs import run
from tests.helpers.training import ROOT, command

HOST = socket.gethostname()
DONE_LATER = """
    import sys, time
    from recognition.cli import run
    from recognition.distributed import heartbeat
    from recognition.distributed.kvstore import KVStoreGroup
    import mxnet as mx

    def main():
        heartbeat.begin()
        workers = KVStoreGroup('device', [mx.cpu()])
        heartbeat.now('starting', rank=workers.rank, needs_servers=True)
        workers.total([1.0])
        rank = workers.rank
        heartbeat.now(heartbeat.ENDING, needs_servers=False)
        del workers  # which closes the store
        heartbeat.now('writing the report')
        time.sleep(6 if rank == 0 else 0)
        print('report written')

    run(main)
"""
STILL_TRAINS = """
    import sys, time
    from recognition.distributed import heartbeat

    heartbeat.begin()
    heartbeat.now(heartbeat.WITH_THE_OTHERS, needs_servers=True)
    time.sleep(60)
"""


def script_of(tmp_path, text):
    path = tmp_path / 'worker.py'
    path.write_text(textwrap.dedent(text))
    return [sys.executable, '-W', 'ignore', path]


@pytest.mark.slow
def test_a_server_that_is_done_before_a_worker_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setattr('recognition.distributed.launcher.PATIENCE', 2.0)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    logs = tmp_path / 'logs'
    run(script_of(tmp_path, DONE_LATER), logs)
    for number in range(2):
        assert 'report written' in (logs / f'worker-{number}.log').read_text()
    command = ['sh', '-c', f'{sys.executable} -W ignore {tmp_path / "worker.py"} && sleep 4 && echo all']
    run(command, logs, workers=1)
    assert (logs / 'worker-0.log').read_text().endswith('all\n')


def test_a_server_that_is_done_while_a_worker_trains_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr('recognition.distributed.launcher.PATIENCE', 2.0)
    monkeypatch.setattr('recognition.distributed.launcher.SERVE', (sys.executable, '-c', ''))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    with pytest.raises(
        FaceSymbolsError, match=r'(server 0|scheduler) \(process \d+\) ended with status 0, so'
    ):
        run(script_of(tmp_path, STILL_TRAINS), tmp_path / 'logs', workers=1)


def test_a_process_says_that_it_is_gone(tmp_path):
    listener = Listener('127.0.0.1')
    code = "from recognition.distributed import heartbeat; heartbeat.begin(); heartbeat.now('x', rank=3)"
    variables = {**os.environ, 'FACESYMBOLS_HEARTBEAT': f'{listener.target}:worker 1'}
    ended = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, env=variables)
    assert ended.wait(240) == 0
    listener.hear()
    sign = listener.signs['worker 1']
    assert (sign.doing, sign.rank, sign.process, sign.host) == ('gone', 3, ended.pid, HOST)
    assert listener.stalls({'worker 1': time.monotonic() - 999}, -1.0) == {}
    listener.close()


@pytest.fixture
def job(folder, tmp_path):
    """A function: starts a training by two workers that would last for hours, and waits for its first steps."""
    started = []

    def start(*options):
        words = [sys.executable, '-W', 'ignore', '-m', 'tools.launch', '-n', '2', '--logs', tmp_path / 'logs']
        words += [
            *options,
            '--',
            *command(folder, tmp_path / 'model', end_epoch=5000, frequent=1, per_batch_size=3),
        ]
        process = subprocess.Popen([*map(str, words)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, '')))
        reader.start()
        started.append((process, reader))
        wait_for(lines, 'step 4/')
        return process, lines

    yield start
    for process, reader in started:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


def wait_for(lines, words, seconds=120):
    end = time.monotonic() + seconds
    while not any(re.search(words, line) for line in [*lines]):
        assert time.monotonic() < end, (words, lines)
        time.sleep(0.05)


def member(launcher, role, number=0):
    """Return the process of a role."""
    found = []
    for child in Path(f'/proc/{launcher.pid}/task/{launcher.pid}/children').read_text().split():
        variables = Path(f'/proc/{child}/environ').read_text()
        if (
            f'DMLC_ROLE={role}' in variables
            and f':{role}{"" if role == "scheduler" else f" {number}"}\0' in variables
        ):
            found.append(int(child))
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize(('role', 'name'), [('worker', 'worker 1'), ('server', 'server 0')])
def test_a_process_that_is_stopped_is_named_and_the_job_comes_on_again(job, role, name):
    launcher, lines = job('--stalled-after', '8')
    stopped = member(launcher, role, int(name[-1]))
    before = len(lines)
    os.kill(stopped, signal.SIGSTOP)
    rank = r'rank [01], ' if role == 'worker' else ''
    wait_for(lines, rf'^{name} \({rank}process {stopped} on {HOST}\) has given no sign for [89] seconds')
    assert launcher.poll() is None
    blamed = [line for line in lines[before:] if 'given no sign' in line]
    assert [line.startswith(name) for line in blamed] == [True]  # not those that wait for it
    os.kill(stopped, signal.SIGCONT)
    wait_for(lines, f'^{name} has come on again')
    steps = sum('step ' in line for line in lines)
    wait_for(lines, rf'step {steps + 3}/')


@pytest.mark.slow
def test_the_job_ends_where_that_is_asked_for(job):
    launcher, lines = job('--stalled-after', '15', '--end-stalled')
    os.kill(member(launcher, 'worker', 1), signal.SIGSTOP)
    assert launcher.wait(90) == 1
    wait_for(
        lines,
        r'^error: worker 1 \(.*\) has given no sign for \d+ seconds, so the job was ended; the logs are in',
    )


def test_a_worker_that_waits_for_its_disk_is_told_from_those_that_wait_for_it(monkeypatch):
    listener = Listener('127.0.0.1')
    host, port = listener.target.split(':')
    clock = [1000.0]
    monkeypatch.setattr('time.monotonic', lambda: clock[0])

    def says(name, doing, seconds, **more):
        sign = {'rank': 0, 'process': 7, 'host': 'here', 'needs_servers': True, 'seconds': seconds}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(json.dumps({**sign, 'name': name, 'doing': doing, **more}).encode(), (host, int(port)))
            for nonsense in (b'{"name": 1', b'[]', b'5', b'\xff', b'[' * 4000):
                out.sendto(nonsense, (host, int(port)))
        listener.hear()

    started = {'worker 0': 990.0, 'worker 1': 990.0, 'server 0': 990.0}
    assert listener.stalls(started, 20.0) == {}
    says('worker 0', 'computing with the others', 30.0)
    says('worker 1', 'reading images', 29.0, rank=1)
    says('server 0', 'starting', 500.0, rank=None)
    assert listener.stalls(started, 20.0) == {
        'worker 1': 'worker 1 (rank 1, process 7 on here) has been reading images for 29 seconds'
    }
    says('worker 1', 'computing with the others', 25.0)
    assert listener.stalls(started, 20.0) == {
        '': 'the workers have been in a step for 25 seconds, though all give signs of life'
    }
    clock[0] += 6.0  # it may have gone on, and be stopped
    assert listener.stalls(started, 20.0) == {}
    clock[0] += 15.0
    says('worker 0', 'trained', 300.0)  # and its program does other work
    says('worker 1', 'gone', 300.0)
    assert listener.stalls({**started, 'scheduler': 1000.0}, 20.0) == {
        'server 0': 'server 0 (process 7 on here) has given no sign for 21 seconds',
        'scheduler': 'scheduler has given no sign for 21 seconds',
    }
    listener.close()
