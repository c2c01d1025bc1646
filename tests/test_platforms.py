"""What runs where mxnet is not installed, and where the system is not Linux."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from config import compat
from config.errors import MissingExtra
from recognition.commands.main import COMMANDS
from recognition.data import FaceDataset, FaceLoader
from tests.helpers.small_network import HEIGHT, SHAPE, WIDTH, make_values, write_onnx

ROOT = Path(__file__).parents[1]
NO_MXNET = """
from importlib.machinery import PathFinder
_found = PathFinder.find_spec
_hidden = ('mxnet', 'graphviz', 'requests')
PathFinder.find_spec = lambda name, *rest: None if name.partition('.')[0] in _hidden else _found(name, *rest)
"""
# What Windows' Python does not have.
NO_LINUX = """
import ctypes, multiprocessing, os, platform, signal, subprocess, sys, types
for _module, _names in (
    (os, ('sched_getaffinity', 'pread', 'fork', 'killpg', 'O_CLOEXEC')),
    (signal, ('sigtimedwait', 'pthread_sigmask', 'SIGKILL')),
):
    for _name in _names:
        delattr(_module, _name)
_locks = types.ModuleType('msvcrt')
_locks.__dict__.update(LK_NBLCK=2, locking=lambda descriptor, mode, size: None)
sys.modules.update(fcntl=None, resource=None, msvcrt=_locks)
_exists, _library = os.path.exists, ctypes.CDLL
os.path.exists = lambda path: not str(path).startswith('/proc') and _exists(path)
ctypes.CDLL = lambda name, *rest: _library(name + '', *rest)
platform.system = lambda: 'Windows'
"""
MISSING = (
    'mxnet is not installed: pip install --no-deps mxnet==1.9.1'
    if compat.how_to_get_mxnet() == compat.INSTALL_MXNET
    else 'mxnet is not installed: mxnet 1.9.1 has no wheel for '
)
HELP = """
import contextlib, io, json, sys
from recognition.commands.main import COMMANDS, dispatch
found = {}
for name in COMMANDS:
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        dispatch([name, '--help'])
    found[name] = text.getvalue()[:100]
print(json.dumps(found), 'mxnet' in sys.modules)
"""


def run(program, *words):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': ''},
        capture_output=True,
        text=True,
    )


def command(before, *words):
    """Run `facesymbols`."""
    return run(f'{before}\nfrom recognition.commands.main import main\nmain()', *words)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Photographs of two people and a network in ONNX."""
    folder = tmp_path_factory.mktemp('elsewhere')
    for number in range(8):
        path = folder / 'photos' / f'p{number // 4}' / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        cv2.imwrite(str(path), image)
    write_onnx(folder / 'net.onnx', make_values())
    done = command(
        NO_MXNET, 'pack', folder / 'photos', '-o', folder / 'set', '--image-size', f'{HEIGHT},{WIDTH}'
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize('before', [NO_MXNET, NO_MXNET + NO_LINUX], ids=['Linux', 'elsewhere'])
def test_every_command_describes_itself_without_mxnet(before):
    done = run(before + HELP)
    assert done.returncode == 0, done.stderr
    text, _, loaded = done.stdout.rpartition(' ')
    assert loaded.strip() == 'False'
    assert [name for name, words in json.loads(text).items() if not words.startswith('usage: ')] == []
    assert list(json.loads(text)) == list(COMMANDS)


def test_curves_are_drawn_without_mxnet(tmp_path):
    program = (
        f'{NO_MXNET}\nfrom recognition.reports import roc_picture\nfrom recognition.verification import verify\n'
        'import sys, numpy as np; embeddings = np.eye(20).repeat(2, axis=0)\n'
        'roc_picture(sys.argv[1], {"set": verify(embeddings, np.arange(20) % 2 == 0, 2)})'
    )
    done = run(program, tmp_path / 'roc.png')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'roc.png').stat().st_size > 0


def test_what_needs_mxnet_says_how_to_install_it(folder):
    data = ['--dataset-path', folder / 'set', '--val-targets', '', '-o', folder / 'run' / 'model']
    training = ['train', '--network', 'y1', '--batch-size', '2', *data]
    for words in (['audit', 'r18'], training, ['launch', '-n', '2', '--', sys.executable, '-c', '']):
        done = command(NO_MXNET, *words)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f'error: {MISSING}'), done.stderr
        assert 'Traceback' not in done.stderr
    last = run(f'{NO_MXNET}\nimport symbols').stderr.splitlines()[-1]
    assert last.startswith(f'config.errors.MissingExtra: {MISSING}')


def test_photographs_are_packed_checked_and_embedded_without_mxnet(folder):
    assert FaceDataset(folder / 'set').labels.tolist() == [0] * 4 + [1] * 4
    assert command(NO_MXNET, 'check-data', folder / 'set').stdout.endswith(': no fault\n')
    saved = folder / 'saved.npz'
    words = ('--model', folder / 'net.onnx', '--mirror', 'none', '--no-normalise', '-o', saved)
    done = command(NO_MXNET, 'embed', folder / 'photos', *words)
    assert done.returncode == 0, done.stderr
    photos = sorted((folder / 'photos').rglob('*.png'))
    images = [cv2.imread(str(photo))[..., ::-1] for photo in photos]
    with np.load(saved) as held:
        np.testing.assert_allclose(held['embeddings'], make_values().embed(images), rtol=1e-4, atol=1e-4)
    done = command(NO_MXNET, 'search', photos[5], '--gallery', saved, '--model', folder / 'net.onnx')
    assert 'mxnet' not in done.stderr
    assert done.returncode == 0, done.stderr
    assert photos[5].name in done.stdout


ELSEWHERE = """
import os, sys
from pathlib import Path
import numpy as np
from config.compat import physical_cores
from config.errors import ConfigError
from recognition.data import FaceDataset, FaceLoader
from recognition.embedding.conversion_cache import kept
from recognition.embedding.storage import Embedded, load_embeddings, save_embeddings
from recognition.distributed.job_plan import Plan, check_plan
from recognition.utils.environment import processor
from recognition.utils.processes import die_with_parent
folder = Path(sys.argv[1])
assert physical_cores() == os.cpu_count() and processor() and die_with_parent() is None
with FaceLoader(FaceDataset(folder / 'set'), 4, workers=2) as loader:
    batches = [images for images, _ in loader.epoch(0)]
np.save(folder / 'batches.npy', batches)
os.environ['XDG_CACHE_HOME'] = str(folder / 'cache')
assert kept('onnx', 'key', '.onnx', lambda path: path.write_text('x')).read_text() == 'x'
save_embeddings(folder / 'a.safetensors', Embedded(['a'], np.ones((1, 2), np.float32), {}))
assert load_embeddings(folder / 'a.safetensors').rows.tolist() == [[1, 1]]
try:
    check_plan(Plan(['true'], 1, 1, folder))
except ConfigError as error:
    print(error)
"""


def test_a_system_without_what_linux_has(folder):
    """It decodes in one process the batches that two processes decode here."""
    done = run(NO_MXNET + NO_LINUX + ELSEWHERE, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'a job of several processes needs process groups, which this system does not have\n'
    said = 'images are decoded in one process, since Windows has no way to share them'
    assert done.stderr.splitlines() == [said]
    with FaceLoader(FaceDataset(folder / 'set'), 4, workers=2) as loader:
        batches = [images for images, _ in loader.epoch(0)]
    assert batches[0].shape == (4, SHAPE[2], HEIGHT, WIDTH)
    assert np.array_equal(np.load(folder / 'batches.npy'), batches)
    done = command(NO_MXNET + NO_LINUX, 'check-data', folder / 'set')
    assert done.stdout.endswith(': no fault\n')
    assert said in done.stderr


def test_a_library_of_mxnet_that_cannot_be_loaded(monkeypatch):
    def fail(name):
        raise OSError('libgomp.so.1: cannot open shared object file')

    monkeypatch.setattr(compat, 'import_module', fail)
    with pytest.raises(MissingExtra, match=r'mxnet cannot be loaded \(libgomp.*`facesymbols doctor`'):
        compat.load_mxnet()


@pytest.mark.parametrize(('length', 'wrong'), [(-1, False), (0x20, False), (0x40, True), (0x10040, True)])
def test_onednn_is_not_used_with_vectors_of_512_bits(monkeypatch, length, wrong):
    """Upper bits of what prctl returns are flags."""

    class Library:
        prctl = staticmethod(lambda *words: length)

    monkeypatch.setattr(compat.ctypes, 'CDLL', lambda name: Library)
    monkeypatch.setattr(compat.platform, 'machine', lambda: 'aarch64')
    monkeypatch.setattr(compat.platform, 'system', lambda: 'Linux')
    for name in (compat.ONEDNN, compat.TELLS_OF_FALLBACK):
        monkeypatch.setenv(name, '')  # to be put back
        monkeypatch.delenv(name)
    compat.prepare_mxnet()
    assert os.environ.get(compat.ONEDNN) == ('0' if wrong else None)
