"""The end of a job: whatever dies or is asked to stop, no process of it is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from config.errors import FaceSymbolsError
from tests.helpers.jobs import run
from tests.helpers.training import ROOT, command

FAILS_ALONE = """
    from recognition.cli import run
    from config.errors import DataError
    from recognition.distributed.kvstore import KVStoreGroup
    import mxnet as mx

    def main():
        workers = KVStoreGroup('device', [mx.cpu()])
        if workers.rank == 1:
            raise ERROR('bad image')
        workers.total([1.0])

    run(main)
"""

WOULD_WAIT = """
    from recognition.cli import run
    import atexit, time
    from config.errors import DataError

    def main():
        raise ERROR('bad image')

    atexit.register(time.sleep, 40)
    run(main)
"""


# the first to come is asked to stop before it can be, and the other waits for it, or fails
STOPPED_EARLY = """
    import os, pathlib, signal, sys, time

    here = pathlib.Path(sys.argv[1])
    try:
        (here / 'first').mkdir()
    except FileExistsError:
        signal.signal(signal.SIGTERM, lambda *_: None if sys.argv[2] == 'waits' else sys.exit(7))
        (here / 'ready').touch()
    while True:
        time.sleep(0.1)
"""


def victim(logs, role, deadline=60):
    """Return the process of a role, once the job's first steps are made."""
    begin = time.monotonic()
    while 'step 4/' not in (told := ''.join(log.read_text() for log in logs.glob('worker-*.log'))):
        assert time.monotonic() < begin + deadline, told
        time.sleep(0.05)
    roles = {}
    for process in left(logs.parent):
        with suppress(OSError):
            text = (Path('/proc') / str(process) / 'environ').read_text()
            parent = int(
                re.search(r'\) \w (\d+)', (Path('/proc') / str(process) / 'stat').read_text()).group(1)
            )
            roles[process] = (re.search(r'DMLC_ROLE=(\w+)', text), parent)
    own = [
        p for p, (found, parent) in roles.items() if found and found.group(1) == role and not roles[parent][0]
    ]
    return own[0]  # not one that a worker has forked


@pytest.fixture
def launched(folder, tmp_path):
    """The launcher of a training that would go on for hours; whatever is left of it at the end is killed."""
    words = [sys.executable, '-W', 'ignore', '-m', 'tools.launch', '-n', '2', '-s', '1']
    words += ['--logs', tmp_path / 'logs', '--']
    words += command(folder, tmp_path / 'run' / 'model', end_epoch=5000, per_batch_size=3)
    job = subprocess.Popen(
        [*map(str, words)],
        cwd=ROOT,
        env={**os.environ, 'JOB': str(tmp_path / 'logs')},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield job
    job.kill()
    for process in left(tmp_path):
        os.kill(process, signal.SIGKILL)


def left(tmp_path):
    """Return the processes of a job that there are."""
    found = []
    for path in Path('/proc').glob('[0-9]*/environ'):
        with suppress(OSError):
            if f'JOB={tmp_path / "logs"}'.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def gone(tmp_path):
    """Whether all processes of the job end within a few seconds."""
    for _ in range(50):
        if not left(tmp_path):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize('role', ['worker', 'server', 'scheduler'])
def test_a_killed_process_ends_the_job_within_seconds(launched, tmp_path, role):
    os.kill(victim(tmp_path / 'logs', role), signal.SIGKILL)
    begin = time.monotonic()
    _, errors = launched.communicate(timeout=60)
    assert time.monotonic() - begin < 15
    assert launched.returncode == 1
    last = errors[errors.index('error: ') :]
    assert re.match(
        rf'error: {role}( \d)? \(process \d+\) was killed by SIGKILL, so the job was ended; ', last
    )
    assert 'Traceback' not in errors
    assert gone(tmp_path)


@pytest.mark.slow
def test_a_worker_that_fails_ends_the_job_and_does_not_wait_for_the_others(launched, tmp_path):
    worker = victim(tmp_path / 'logs', 'worker')
    children = Path(f'/proc/{worker}/task/{worker}/children').read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)  # that decodes images for it
    _, errors = launched.communicate(timeout=30)
    assert launched.returncode == 1
    assert re.search(r'error: worker \d \(process \d+\) ended with status 1, so the job was ended', errors)
    assert 'a worker that decodes the images of' in errors
    assert gone(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_ending_the_launcher_ends_the_workers(launched, tmp_path, number):
    victim(tmp_path / 'logs', 'worker')
    launched.send_signal(number)
    _, errors = launched.communicate(timeout=60)
    assert gone(tmp_path)
    if number != signal.SIGKILL:
        assert launched.returncode == 130
        assert re.search(r'stopped by \w+ after step \d+; saved .*model-\d+\.params; go on with: ', errors)
        assert len(list((tmp_path / 'run').glob('*.state'))) > 0
    assert 'Traceback' not in errors


@pytest.mark.parametrize('error', ['DataError', 'OSError', 'ZeroDivisionError'])
def test_a_worker_that_fails_leaves_at_once_whatever_would_wait_at_its_end(tmp_path, error):
    script = tmp_path / 'leave.py'
    script.write_text(textwrap.dedent(WOULD_WAIT.replace('ERROR', error)))
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'DMLC_ROLE': 'worker'},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert time.monotonic() - begin < 20
    assert done.returncode == 1
    assert 'bad image' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ('error', 'shown'),
    [
        ('DataError', 'error'),
        pytest.param('ZeroDivisionError', 'ZeroDivisionError', marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_fails_alone_ends_the_job(tmp_path, monkeypatch, error, shown):
    """MXNet would have it wait at its end for the other, which waits for it."""
    script = tmp_path / 'fail.py'
    script.write_text(textwrap.dedent(FAILS_ALONE.replace('ERROR', error)))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    begin = time.monotonic()
    with pytest.raises(FaceSymbolsError, match=r'worker \d .*ended with status 1, so .*') as caught:
        run([sys.executable, script], tmp_path / 'logs')
    assert re.search(rf'\n    {shown}: bad image$', str(caught.value))
    assert time.monotonic() - begin < 30


class StopsWhen:
    """A request to stop that comes when a file is there."""

    def __init__(self, path):
        self.path = path

    def __bool__(self):
        return self.path.exists()


@pytest.mark.parametrize(
    ('other', 'told'), [('waits', None), ('fails', r'worker \d .*ended with status 7, so')]
)
def test_a_job_that_is_stopped_as_it_starts_ends(tmp_path, monkeypatch, other, told):
    monkeypatch.setattr('recognition.distributed.launcher.PATIENCE', 2.0)
    script = tmp_path / 'early.py'
    script.write_text(textwrap.dedent(STOPPED_EARLY))
    begin = time.monotonic()
    with pytest.raises(FaceSymbolsError, match=told) if told else nullcontext():
        run([sys.executable, script, tmp_path, other], tmp_path / 'logs', stop=StopsWhen(tmp_path / 'ready'))
    assert time.monotonic() - begin < 40
