"""The settings with which mxnet is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.compat import ONEDNN_CACHE, physical_cores

ROOT = Path(__file__).resolve().parents[2]


def run_with(program, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != ONEDNN_CACHE}
    environment = {**inherited, **environment}
    return subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, env=environment
    )


ALIKE = (
    'from config import resolve; from symbols import get_block; import mxnet as mx; '
    "net = get_block(resolve('r18', image_shape=(16, 16, 3))); net.initialize(); x = mx.nd.ones((4, 3, 16, 16)); "
    'mx.autograd.set_recording(True); y = net(x); y.backward(); print(y.asnumpy().shape)'
)


def test_batch_norms_that_onednn_takes_for_the_same_do_not_end_the_process():
    done = run_with(ALIKE)
    assert done.stdout.strip() == '(4, 512)', done.stderr


THREADS = ('MXNET_OMP_MAX_THREADS', 'OMP_NUM_THREADS')
OURS = {'DNNL_PRIMITIVE_CACHE_CAPACITY': '0', 'MXNET_CPU_TEMP_COPY': '1', THREADS[0]: str(physical_cores())}


@pytest.mark.parametrize(
    ('given', 'wanted'),
    [
        ({}, {**OURS, THREADS[1]: None}),
        (dict.fromkeys(OURS, '7'), {**dict.fromkeys(OURS, '7'), THREADS[1]: None}),
        ({THREADS[1]: '1'}, {**OURS, THREADS[0]: None, THREADS[1]: '1'}),
    ],
    ids=['none', 'all', 'threads of another name'],
)
def test_settings_are_made_unless_the_user_has_made_them(monkeypatch, given, wanted):
    """Of threads, every core, unless the user has said how many, in mxnet's variable or in OpenMP's."""
    for name in wanted:
        monkeypatch.delenv(name, raising=False)
    program = f'import json, os, symbols; print(json.dumps({{n: os.environ.get(n) for n in {list(wanted)}}}))'
    done = run_with(program, **given)
    assert json.loads(done.stdout) == wanted, done.stderr


@pytest.mark.parametrize(
    ('usable', 'siblings', 'count'),
    [
        ({0, 1}, {0: '0', 1: '1'}, 2),
        ({0, 1, 2, 3}, {0: '0,2', 1: '1,3', 2: '0,2', 3: '1,3'}, 2),
        ({0, 2}, {0: '0,2', 2: '0,2'}, 1),  # two threads of a core
        ({1, 5}, {}, 2),  # a system that does not tell
    ],
)
def test_a_core_with_several_threads_counts_once(tmp_path, monkeypatch, usable, siblings, count):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: usable)
    for number, text in siblings.items():
        folder = tmp_path / f'cpu{number}' / 'topology'
        folder.mkdir(parents=True)
        (folder / 'thread_siblings_list').write_text(text + '\n')
    assert physical_cores(tmp_path) == count
