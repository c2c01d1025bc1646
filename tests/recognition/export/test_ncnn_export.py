"""Networks for ncnn: every family, what lies beside the pair, what is refused, and no pair that is half new."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError, MissingExtra
from recognition.commands.export import main
from recognition.embed import Embedder
from recognition.export.ncnn_export import export_ncnn, files_of
from recognition.export.onnx_export import Options
from recognition.export.parity import TOLERANCE
from recognition.export.pnnx import Pair
from recognition.utils.checksums import sum_of
from recognition.utils.packages import install_command
from recognition.utils.run_paths import params_path, symbol_path
from symbols.ir.nodes import load_symbol
from tests.helpers.narrow import SMALL_SHAPE, small
from tests.helpers.small_network import SHAPE, make_values, write_checkpoint, write_ncnn

import mxnet as mx

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def prefix(tmp_path):
    """A checkpoint of epoch 7 of the network in tests.helpers.small_network."""
    write_checkpoint(tmp_path / 'model', 7, make_values())
    return tmp_path / 'model'


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a pair of known values in the place of what pnnx makes; return a function that sets them."""
    folder = tmp_path / 'made'
    folder.mkdir()

    @contextmanager
    def converted(content, image_shape):
        yield Pair(folder / 'net.ncnn.param', folder / 'net.ncnn.bin')

    monkeypatch.setattr('recognition.export.ncnn_export.find_pnnx', lambda: None)
    monkeypatch.setattr('recognition.export.ncnn_export.converted', converted)

    def give(values):
        write_ncnn(folder / 'net.ncnn', values)

    give(make_values())
    return give


def export(prefix, output, epoch=7, image_shape=SHAPE, **settings):
    return export_ncnn(prefix, epoch, output, image_shape=image_shape, **settings)


def draw(count, shape=SHAPE):
    return np.random.RandomState(5).randint(0, 256, (count, *shape)).astype(np.uint8)


def held(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# With pnnx.


@pytest.mark.torch
def test_the_tool_tells_what_it_wrote(prefix, tmp_path, capsys):
    output = tmp_path / 'out' / 'net.ncnn.param'
    words = ['--model', f'{prefix},7', '--output', str(output), '--format', 'ncnn', '--image-size', '14,12']
    assert not main(words)
    first, second, *check = capsys.readouterr().out.splitlines()
    assert first == f'written     {output}, {output.stat().st_size:,} bytes'
    assert second == f'beside it   {output.with_suffix(".bin")}, {output.with_suffix(".json")}'
    assert 'photographs of faces (ORL)' in check[-1]
    assert len(os.listdir(output.parent)) == 3


# What is written.


def test_the_pair_and_what_tells_of_it(prefix, stand_in, tmp_path):
    output = tmp_path / 'out' / 'net.ncnn.param'
    check = export(prefix, output)
    assert check.difference <= TOLERANCE
    assert held(output.parent).keys() == {'net.ncnn.param', 'net.ncnn.bin', 'net.ncnn.json'}
    assert [path.name for path in files_of(output)] == ['net.ncnn.param', 'net.ncnn.bin', 'net.ncnn.json']
    told = json.loads(output.with_suffix('.json').read_text())
    assert told['params_sha256'] == sum_of(params_path(prefix, 7))
    assert (told['image_shape'], told['embedding_shape'], told['epoch']) == ([*SHAPE], [8], 7)
    assert told['options'] == {'normalise': False, 'uint8_nhwc': False, 'fold': True, 'pixels': 'inside'}

    embedder = Embedder.load(output, 'ncnn', mirror='none', normalise=False)
    assert embedder.image_shape == SHAPE  # from the file beside it
    assert embedder.network == told['params_sha256']
    np.testing.assert_allclose(embedder(draw(2)), make_values().embed(draw(2)), atol=1e-4)


def test_what_the_file_beside_it_must_tell(prefix, stand_in, tmp_path):
    output = tmp_path / 'net.param'
    export(prefix, output)
    about = output.with_suffix('.json')
    whole = json.loads(about.read_text())
    with pytest.raises(ConfigError, match=r'images of 112x112x3 do not fit .*net\.json, which takes 14x12x3'):
        Embedder.load(output, 'ncnn', image_shape=(112, 112, 3))
    for shape, words in (
        ([14, 12, 4], 'images of 4 channels, which are neither RGB nor grey'),
        ('none', r'net\.json is damaged'),
        (7, r'net\.json is damaged'),
        ([14, 12], r'net\.json is damaged'),
    ):
        about.write_text(json.dumps({**whole, 'image_shape': shape}))
        with pytest.raises(CheckpointError, match=words):
            Embedder.load(output, 'ncnn')
    for text in ('{', '[1]', ''):
        about.write_text(text)
        with pytest.raises(CheckpointError, match=r'net\.json is damaged'):
            Embedder.load(output, 'ncnn')
    about.unlink()
    assert Embedder.load(output, 'ncnn', image_shape=SHAPE).image_shape == SHAPE


def test_a_map_has_its_shape_though_the_engine_may_give_its_values_in_a_row(prefix, stand_in, tmp_path):
    symbol = load_symbol(symbol_path(prefix))
    symbol = mx.sym.Reshape(symbol, shape=(0, 2, 2, 2), name='map')
    graph = symbol.tojson().replace('"fc1"', '"layer"')  # nothing here is called the embedding
    symbol_path(prefix).write_text(graph)
    assert export(prefix, tmp_path / 'net.param').difference <= TOLERANCE
    assert json.loads((tmp_path / 'net.json').read_text())['embedding_shape'] == [2, 2, 2]


@pytest.mark.parametrize('before', [False, True])
def test_a_pair_of_other_numbers_is_refused_and_nothing_is_written(prefix, stand_in, tmp_path, before):
    output = tmp_path / 'out' / 'net.param'
    if before:
        export(prefix, output)
    old = held(output.parent) if before else {}
    values = make_values()
    stand_in(values._replace(weight=values.weight * np.float32(1.001)))
    with pytest.raises(CheckpointError, match="of the largest value off MXNet's"):
        export(prefix, output)
    assert (held(output.parent) if output.parent.exists() else {}) == old


KILLED = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
import recognition.export.ncnn_export as it
from recognition.export.pnnx import Pair
made, prefix, outputs = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
@contextmanager
def converted(content, shape):
    yield Pair(made / 'net.ncnn.param', made / 'net.ncnn.bin')
it.find_pnnx, it.converted = lambda: None, converted
def counting(call, name):
    def counted(*given, **settings):
        global count
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        count -= 1
        return call(*given, **settings)
    return counted
def put(*given):
    for where, name in ((os, 'replace'), (Path, 'unlink'), (Path, 'write_bytes'), (Path, 'write_text')):
        setattr(where, name, counting(getattr(where, name), name))
    return own_put(*given)
own_put, it._put = it._put, put
for output in outputs:  # each in a process of its own, which has imported all of it already
    count = int(Path(output).parent.name)
    child = os.fork()
    if not child:
        it.export_ncnn(prefix, 8, output, image_shape=(14, 12, 3))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_kill_at_any_step_leaves_the_old_pair_or_none(prefix, stand_in, tmp_path):
    """The first three steps write, then the old graph goes, then the files are put in place, the graph last."""
    export(prefix, tmp_path / 'out' / 'net.param')
    old = held(tmp_path / 'out')
    write_checkpoint(prefix, 8, make_values(1))
    stand_in(make_values(1))
    expected = {3: 'old', 4: 'none', 6: 'none'}
    outputs = [shutil.copytree(tmp_path / 'out', tmp_path / str(n)) / 'net.param' for n in expected]
    words = map(str, (tmp_path / 'made', prefix, *outputs))
    call = [sys.executable, '-W', 'ignore', '-c', KILLED, *words]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(expected), done.stderr
    for output, state in zip(outputs, expected.values()):
        assert _state(output, old) == state
        export(prefix, output, 8)
        assert _state(output, old) == 'new'
        assert len(os.listdir(output.parent)) == 3  # what the killed one had left is gone


def _state(output, old):
    """Return which pair can be loaded."""
    if not output.exists():
        with pytest.raises(CheckpointError, match='does not exist'):
            Embedder.load(output, 'ncnn')
        return 'none'
    files = {name: content for name, content in held(output.parent).items() if not name.startswith('.')}
    found = Embedder.load(output, 'ncnn', mirror='none', normalise=False)(draw(2))
    for name, seed in (('old', 0), ('new', 1)):
        if np.allclose(found, make_values(seed).embed(draw(2)), atol=1e-3):
            assert (files == old) == (name == 'old')
            return name
    raise AssertionError('a pair of neither network')


def test_a_folder_that_cannot_be_written(prefix, stand_in, tmp_path):
    (tmp_path / 'file').write_text('no folder')
    with pytest.raises(CheckpointError, match=r'net\.param cannot be written: '):
        export(prefix, tmp_path / 'file' / 'net.param')


# What is refused before the work.


@pytest.mark.parametrize('name', ['net.onnx', 'net.bin', 'net', 'param'])
def test_another_ending(prefix, tmp_path, name):
    with pytest.raises(ConfigError, match=rf'{name} must end in \.param; the values go to .* \.bin'):
        export(prefix, tmp_path / name)


def test_bytes_are_not_taken(prefix, tmp_path):
    with pytest.raises(ConfigError, match='uint8_nhwc does not go with ncnn'):
        export(prefix, tmp_path / 'net.param', options=Options(uint8_nhwc=True))
    with pytest.raises(ConfigError, match="pixels='outside' does not go with ncnn"):
        export(prefix, tmp_path / 'net.param', options=Options(pixels='outside'))


def test_an_embedding_that_depends_on_the_others_of_a_batch(save, stand_in, tmp_path):
    prefix = save(small('r18', image_shape=SMALL_SHAPE, net_output='gnap'))
    with pytest.raises(ConfigError, match='another embedding alone than among others, as the head GNAP does'):
        export(prefix, tmp_path / 'net.param', 1, SMALL_SHAPE)
    assert not list(tmp_path.glob('net.*'))


def test_what_is_missing_is_named(prefix, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr('recognition.export.pnnx.find_spec', lambda name: None)
        with pytest.raises(MissingExtra, match='made by pnnx: pip install --no-deps pnnx'):
            export(prefix, tmp_path / 'net.param')
    for package in ('ncnn', 'onnx'):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(
                MissingExtra, match=rf'needs? (the package )?{package}: {re.escape(install_command(package))}'
            ):
                export(prefix, tmp_path / 'net.param')
    assert not list(tmp_path.glob('net.*'))


@pytest.mark.parametrize('there', ['net.param', 'net.bin', 'net.json'])
def test_the_tool_replaces_no_file_unasked(prefix, tmp_path, there):
    """A verification set, say, is a .bin, too."""
    (tmp_path / there).write_text('mine')
    words = ['--model', f'{prefix},7', '--output', str(tmp_path / 'net.param'), '--format', 'ncnn']
    with pytest.raises(
        ConfigError, match=rf'{there} already exists; choose another --output, or replace it with --overwrite'
    ):
        main(words)
    assert (tmp_path / there).read_text() == 'mine'
    with pytest.raises(ConfigError, match=r'must end in \.param'):
        main([*words, '--output', str(tmp_path / 'net.onnx')])
