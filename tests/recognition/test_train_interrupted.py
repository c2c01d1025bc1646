"""A training that is broken off: a signal saves first, and the run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import numpy as np
import pytest

from recognition.train import train
from tests.helpers.training import command, config, launch

import mxnet as mx


@pytest.mark.slow
def test_a_run_that_goes_on_in_another_process_equals_one_that_was_not_broken_off(folder, tmp_path):
    whole = train(config(folder, max_steps=14), prefix=tmp_path / 'whole' / 'model')
    train(config(folder, max_steps=5), prefix=tmp_path / 'parts' / 'model')
    process = launch([*command(folder, tmp_path / 'parts' / 'model', max_steps=14), '--resume'])
    assert process.wait(120) == 0, process.stderr.read()
    assert 'going on after step 5 of 14' in process.stderr.read()
    one, two = (mx.nd.load(str(tmp_path / part / 'model-0002.params')) for part in ('whole', 'parts'))
    assert sorted(one) == sorted(two)
    different = [name for name in one if not np.array_equal(one[name].asnumpy(), two[name].asnumpy())]
    assert different == []
    history = [
        json.loads(line) for line in (tmp_path / 'parts' / 'model-history.jsonl').read_text().splitlines()
    ]
    assert [record['loss'] for record in history] == [record['loss'] for record in whole.history]


@pytest.mark.slow
def test_ctrl_c_saves_and_tells_how_to_go_on(folder, tmp_path):
    words = command(folder, tmp_path / 'model', end_epoch=5000, frequent=1)
    process = start_training(words)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    step = stopped_in_order(process, 'SIGINT')
    again = launch([*words, '--resume', '--max-steps', str(step + 2)])
    assert again.wait(120) == 0
    assert f'going on after step {step} of {step + 2}' in again.stderr.read()


@pytest.mark.slow
def test_sigterm_saves_too(folder, tmp_path):
    process = start_training(command(folder, tmp_path / 'model', end_epoch=5000, frequent=1))
    process.terminate()
    stopped_in_order(process, 'SIGTERM')


def start_training(words):
    """Launch a training, and wait for its first step."""
    process = launch(words)
    first = process.stderr.readline()
    assert re.match(r'step 1/40000 ', first), first + process.stderr.read()
    return process


def stopped_in_order(process, name):
    """See that the training ends as it should on a signal, and return the step it got to."""
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, '')
    assert 'Traceback' not in errors
    last = errors.splitlines()[-1]
    match = re.fullmatch(
        rf'stopped by {name} after step (\d+); saved .*-\d+\.params; go on with: .*--resume', last
    )
    assert match, last
    wait_until_gone(process.pid)
    return int(match.group(1))


def wait_until_gone(group):
    """Fail unless every process of the group ends within a few seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail('a worker outlived the training')
