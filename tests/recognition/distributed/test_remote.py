"""What runs on another host for the launcher: it passes signals on, and nothing outlives the connection."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from recognition.distributed.job_plan import HERE
from tests.helpers.training import ROOT

STUBBORN = (
    'trap "echo asked" TERM; echo $$; while true; do sleep 0.1; done'  # a shell that does not end when asked
)


def start(*command):
    words = [sys.executable, '-m', 'recognition.distributed.remote', HERE, 'A=b c', '--', *command]
    return subprocess.Popen(
        words,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


@pytest.fixture
def stubborn():
    """The program with a command that ignores SIGTERM, and the command's process id."""
    program = start('sh', '-c', STUBBORN)
    process = int(program.stdout.readline())
    yield program, process
    program.kill()
    with suppress(ProcessLookupError):
        os.kill(process, 9)


def is_gone(process):
    for _ in range(50):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_command_has_its_variables_its_address_and_its_status():
    program = start('sh', '-c', 'echo $A $DMLC_NODE_HOST; exit 7')
    assert program.stdout.read() == f'b c {HERE}\n'
    assert program.wait(timeout=20) == 7


def test_a_signal_is_passed_on(stubborn):
    program, process = stubborn
    program.stdin.write('15\n')
    assert program.stdout.readline() == 'asked\n'
    program.stdin.write('9\n')
    assert program.wait(timeout=20) == 128 + 9
    assert is_gone(process)


def test_a_lost_connection_ends_the_command(stubborn):
    program, process = stubborn
    program.stdin.close()
    assert program.wait(timeout=20) == 128 + 9
    assert is_gone(process)


def test_the_command_does_not_outlive_the_program(stubborn):
    program, process = stubborn
    program.kill()
    assert is_gone(process)


def test_a_command_that_is_not_there_is_one_sentence():
    program = start('no-such-command')
    assert program.communicate(timeout=20) == ('', 'error: no-such-command: No such file or directory\n')
    assert program.returncode == 1
