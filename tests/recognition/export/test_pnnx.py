"""The program pnnx: found, run, and understood where it fails."""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import recognition.export.pnnx
from config.errors import CheckpointError, MissingExtra
from recognition.export.pnnx import converted, find_pnnx
from tests.helpers.small_network import SHAPE, make_values, write_onnx

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a program in the place of pnnx; None: the package has no program."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'work'))
    (tmp_path / 'work').mkdir()
    package = tmp_path / 'site' / 'pnnx'
    package.mkdir(parents=True)

    def put(text, mode=0o755):
        spec = importlib.machinery.ModuleSpec('pnnx', None, is_package=True)
        spec.submodule_search_locations = [str(package)]
        monkeypatch.setattr(recognition.export.pnnx, 'find_spec', lambda name: spec)
        if text is not None:
            (package / 'pnnx').write_text(text)
            (package / 'pnnx').chmod(mode)
        return package / 'pnnx'

    return put


def convert(content=b'a network'):
    with converted(content, SHAPE) as pair:
        return pair, pair.graph.read_text(), pair.values.read_bytes()


def test_it_is_run_on_the_network_in_a_folder_that_goes(install, tmp_path):
    script = '#!/bin/sh\necho "$@" > net.ncnn.param; cat net.onnx > net.ncnn.bin\n'
    assert install(script) == find_pnnx()
    pair, graph, values = convert()
    assert graph.split() == ['net.onnx', 'inputshape=[1,3,14,12]', 'fp16=0']
    assert values == b'a network'
    assert not pair.graph.exists()
    assert os.listdir(tmp_path / 'work') == []


@pytest.mark.parametrize(
    ('script', 'words'),
    [
        ('echo reading >&2; echo "no rule for Blob" >&2; exit 3', r'\(status 3\): no rule for Blob'),
        ('exit 255', r'\(status 255\): it says nothing'),
        ('kill -SEGV $$', r'\(status -11\): it says nothing'),
        ('touch net.ncnn.param net.ncnn.bin; exit 1', r'\(status 1\): it says nothing'),
        ('touch net.ncnn.param', r'\(status 0\): it says nothing'),
        ('touch net.ncnn.bin; printf "\\377 bytes" >&2', r'\(status 0\): .* bytes'),
    ],
)
def test_where_it_fails_the_sentence_tells_its_last_words(install, tmp_path, script, words):
    install(f'#!/bin/bash\n{script}\n')
    with pytest.raises(CheckpointError, match=f'pnnx cannot convert the network {words}') as caught:
        convert()
    assert '\n' not in str(caught.value)
    assert os.listdir(tmp_path / 'work') == []


RUN = """
import sys
import recognition.export.pnnx as it
it.find_pnnx = lambda: sys.argv[1]
with it.converted(b'a network', (14, 12, 3)):
    pass
"""


def test_it_ends_with_the_process_that_was_killed(install, tmp_path):
    told = tmp_path / 'number'
    program = install(f'#!/bin/sh\necho $$ > {told}.new; mv {told}.new {told}; exec sleep 60\n')
    started = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', RUN, str(program)], cwd=ROOT)
    wait_for(told.exists)
    started.kill()
    started.wait()
    wait_for(lambda: not _runs(int(told.read_text())))


def _runs(number):
    """Whether a process is there, and no dead one that nobody has asked for."""
    try:
        return Path(f'/proc/{number}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def wait_for(happened, seconds=30):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_program_for_another_machine(install):
    program = install('\x7fELF of another kind')
    with pytest.raises(CheckpointError, match=f'{program} cannot be run: Exec format error'):
        convert()


def test_where_it_is_not_installed_the_sentence_says_how(install, monkeypatch):
    words = 'files for ncnn are made by pnnx: pip install --no-deps pnnx'
    for text, mode in ((None, 0), ('no program', 0o644)):
        install(text, mode)
        with pytest.raises(MissingExtra, match=words):
            convert()
    monkeypatch.setattr(recognition.export.pnnx, 'find_spec', lambda name: None)
    with pytest.raises(MissingExtra, match=words):
        find_pnnx()


@pytest.mark.torch
def test_the_program_itself(tmp_path):
    network = write_onnx(tmp_path / 'net.onnx', make_values(), batch=1)
    _, graph, values = convert(network.read_bytes())
    assert graph.startswith('7767517\n')
    assert len(values) > 4 * make_values().weight.size  # float32
    with pytest.raises(CheckpointError, match=r'pnnx cannot convert the network \(status \d+\): \w+'):
        convert(b'no network')


@pytest.mark.torch
def test_the_wheel_does_without_torch():
    """What the program is linked with is of the system."""
    done = subprocess.run(['ldd', str(find_pnnx())], capture_output=True, text=True, check=True)
    assert 'torch' not in done.stdout
    assert 'not found' not in done.stdout
