"""Files and a training of the same bytes on every Python and numpy (`pytest --golden` writes their sums anew)."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sysconfig

import numpy as np
import pytest

from config import network, resolve
from recognition.checkpoint.training_state import TrainingState, newest_state, save_state
from recognition.commands.audit import main as audit
from recognition.data.writer import write_pairs, write_records
from recognition.drawing.dot import dot_text
from recognition.drawing.render import lay_out
from recognition.embedding.storage import Embedded, save_embeddings
from recognition.utils.checksums import sum_of
from recognition.utils.run_paths import params_path, state_path, symbol_path
from recognition.weights.safetensors_file import write_safetensors
from recognition.weights.torch.writer import write_state_dict
from symbols import get_symbol
from symbols.graph import build_graph
from tests.helpers.exported import export, save_tiny
from tests.helpers.training import ROOT, command, write_faces

SUMS = ROOT / 'tests' / 'golden' / 'sha256.txt'
ARRAYS = {'b': np.arange(12, dtype=np.float32).reshape(3, 4) / 7, 'a': np.ones(5, np.float32)}
METADATA = {'one': 'ä "quoted"', 'config': '{}', 'two': '2', 'three': '3', 'four': '4', 'five': '5'}
STEPS = 30
# One thread, and the instructions that every x86-64 processor of the last fifteen years has: with others, oneDNN and
# OpenBLAS add in another order.
PLAIN = {'OMP_NUM_THREADS': '1', 'DNNL_MAX_CPU_ISA': 'SSE41', 'OPENBLAS_CORETYPE': 'Nehalem'}


@pytest.fixture
def check(request):
    """Return a function: compares names and sums with those of the golden file, or writes them into it."""

    def check_sums(found):
        lines = dict(reversed(line.split('  ')) for line in SUMS.read_text('utf-8').splitlines())
        if request.config.getoption('--golden'):
            lines = {**lines, **found}
            SUMS.write_text(''.join(f'{lines[name]}  {name}\n' for name in sorted(lines)), 'utf-8')
        assert found == {name: lines.get(name) for name in found}

    return check_sums


@pytest.mark.parametrize('preset', ['r50', 'd121', 'y1', 'keras_xception'])
def test_symbols_and_audits(preset, tmp_path, check):
    (tmp_path / 'symbol.json').write_text(get_symbol(resolve(preset)).tojson())
    audit([preset, '--format', 'json', '-o', str(tmp_path / 'audit.json')])
    check({f'{preset}-{name}': sum_of(tmp_path / name) for name in ('symbol.json', 'audit.json')})


@pytest.mark.parametrize('preset', ['d121', 'r100'])
def test_pictures(preset, check):
    text = dot_text(build_graph(get_symbol(network[preset]), {'data': (1, 3, 112, 112)}, 'units'), preset)
    engine = shutil.which('graphviz-pure', path=sysconfig.get_path('scripts'))
    assert engine
    check({f'{preset}.svg': hashlib.sha256(lay_out(text, engine, 'svg')).hexdigest()})


def test_checkpoints_and_onnx_files(tmp_path, check):
    prefix = save_tiny(tmp_path / 'model')
    export(prefix, tmp_path / 'model.onnx')
    paths = (symbol_path(prefix), params_path(prefix, 1), tmp_path / 'model.onnx')
    check({path.name: sum_of(path) for path in paths})


def test_arrays_in_files(tmp_path, check):
    write_state_dict(tmp_path / 'weights.pth', ARRAYS)
    write_safetensors(tmp_path / 'weights.safetensors', ARRAYS, METADATA)
    save_state(tmp_path / 'model', 1, TrainingState({'step': 1}, {}, ARRAYS))
    for ending in ('npz', 'safetensors'):
        save_embeddings(tmp_path / f'faces.{ending}', Embedded(['a', 'ä', '一'], ARRAYS['b'], METADATA))
    names = ('weights.pth', 'weights.safetensors', 'faces.npz', 'faces.safetensors')
    check(
        {
            path.name: sum_of(path)
            for path in (*(tmp_path / name for name in names), state_path(tmp_path / 'model', 1))
        }
    )


def test_records(tmp_path, check):
    images = [bytes(range(number, 40)) for number in range(6)]
    write_records(tmp_path, zip(images, (0, 0, 1, 1, 2, 2)), None, (32, 32, 3))
    write_pairs(tmp_path / 'val.bin', images, [True, False, True])
    check({path.name: sum_of(path) for path in sorted(tmp_path.iterdir())})


@pytest.mark.skipif(platform.machine() not in ('x86_64', 'AMD64'), reason='the sums are those of x86-64')
@pytest.mark.parametrize('name', ['sgd', 'adamw'])
def test_a_training_of_30_steps(name, tmp_path, check):
    settings = {
        'sgd': {'data_shift': 1.0, 'data_color': 1},
        'adamw': {'optimizer': 'adamw', 'lr': 0.002, 'ema': 0.9},
    }
    folder, prefix = write_faces(tmp_path / 'faces'), tmp_path / 'run' / 'model'
    words = command(folder, prefix, max_steps=STEPS, end_epoch=9, **settings[name])
    done = subprocess.run(
        [*words, '--no-verify'], cwd=ROOT, env={**os.environ, **PLAIN}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    _, state = newest_state(prefix)
    assert state.progress['step'] == STEPS
    digest = hashlib.sha256()
    for key in sorted(state.arrays):
        digest.update(key.encode() + np.asarray(state.arrays[key]).tobytes())
    check({f'{name}-{STEPS}-steps': digest.hexdigest()})
