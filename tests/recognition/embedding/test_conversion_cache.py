"""A checkpoint becomes the file of another engine once, and is compared with MXNet every time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from config.errors import CheckpointError, ConfigError, MissingExtra
from recognition.embed import Embedder
from recognition.embedding.conversion_cache import KEPT
from recognition.export import onnx_export
from recognition.export.ncnn_export import export_ncnn
from recognition.utils.packages import install_command
from tests.helpers.small_network import SHAPE, make_values, write_checkpoint

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def exported(monkeypatch):
    """Count what the export is asked for; `spoil`, where it is set, is called with the path that it has written."""
    asked = SimpleNamespace(calls=[], spoil=None)
    export_onnx = onnx_export.export_onnx

    def counted(prefix, epoch, output, *, image_shape, options, output_layer):
        asked.calls.append((str(prefix), epoch, tuple(image_shape), options.fold))
        assert output_layer is None
        export_onnx(prefix, epoch, output, image_shape=image_shape, options=options)
        if asked.spoil:
            asked.spoil(output)

    monkeypatch.setattr(onnx_export, 'export_onnx', counted)
    return asked


def other_weights(path):
    """Write an ONNX file anew, with all weights of the network changed."""
    model = onnx.load(str(path))
    for held in model.graph.initializer:
        array = onnx.numpy_helper.to_array(held)
        if array.ndim == 2:
            held.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array[:, ::-1]), held.name))
    onnx.save(model, str(path))


def images(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


@pytest.mark.parametrize('engine', ['onnxruntime', 'openvino'])
def test_a_checkpoint_is_converted_once(cache, small, exported, engine):
    expected = Embedder.load(small.checkpoint, 'mxnet', image_shape=SHAPE)(images())
    for _ in range(2):
        embedder = Embedder.load(small.checkpoint, engine, image_shape=SHAPE)
        np.testing.assert_allclose(embedder(images()), expected, atol=1e-5)
    assert exported.calls == [(small.checkpoint[:-2], 7, SHAPE, True)]
    assert embedder.network == Embedder.load(small.checkpoint, 'mxnet', image_shape=SHAPE).network


def test_an_export_that_went_wrong_is_refused(cache, small, exported):
    exported.spoil = other_weights
    with pytest.raises(CheckpointError, match=r'the engine onnxruntime .*disagrees with mxnet'):
        Embedder.load(small.checkpoint, 'onnxruntime', image_shape=SHAPE)
    chosen = Embedder.load(small.checkpoint, 'auto', image_shape=SHAPE).engine
    assert chosen in ('mxnet', 'ncnn')  # whose pair is made in another way


@pytest.mark.parametrize('damage', [lambda path: path.write_bytes(b'no network'), other_weights])
def test_a_kept_network_that_is_damaged_is_made_anew(cache, small, exported, damage):
    expected = Embedder.load(small.checkpoint, 'onnxruntime', image_shape=SHAPE)(images())
    (kept,) = (cache / 'onnx').glob('*.onnx')
    damage(kept)
    found = Embedder.load(small.checkpoint, 'onnxruntime', image_shape=SHAPE)(images())
    np.testing.assert_array_equal(found, expected)
    assert len(exported.calls) == 2


def test_few_converted_networks_are_kept(cache, tmp_path, exported):
    models = [write_checkpoint(tmp_path / 'model', number, make_values(number)) for number in range(KEPT + 2)]
    for number, model in enumerate(models):
        Embedder.load(model, 'onnxruntime', image_shape=SHAPE)
        Embedder.load(models[0], 'onnxruntime', image_shape=SHAPE)  # used last, and so it stays
        written = sorted((cache / 'onnx').glob('*.onnx'))
        for path in written:  # times of files are coarse
            os.utime(path, ns=(path.stat().st_mtime_ns - 10**9,) * 2)
        assert len(written) == min(number + 1, KEPT)
    assert [epoch for _, epoch, _, _ in exported.calls] == list(range(KEPT + 2))


def test_the_same_weights_under_another_graph_are_another_network(cache, tmp_path, exported):
    model = write_checkpoint(tmp_path / 'model', 7, make_values())
    first = Embedder.load(model, 'onnxruntime', image_shape=SHAPE)(images())
    graph = tmp_path / 'model-symbol.json'
    assert graph.read_text().count('"scalar": "127.5"') == 1
    graph.write_text(graph.read_text().replace('"scalar": "127.5"', '"scalar": "100"'))
    second = Embedder.load(model, 'onnxruntime', image_shape=SHAPE)(images())
    assert len(exported.calls) == 2
    assert np.abs(first - second).max() > 0.01


@pytest.mark.parametrize('engine', ['auto', 'mxnet', 'onnxruntime', 'ncnn'])
def test_a_checkpoint_that_is_not_there_is_one_sentence(cache, tmp_path, engine):
    with pytest.raises(
        CheckpointError, match=r'none-(symbol\.json|0003\.params) (does not exist|cannot be read)'
    ):
        Embedder.load(tmp_path / 'none,3', engine)
    write_checkpoint(tmp_path / 'model', 7, make_values())
    with pytest.raises(CheckpointError, match=r'model-0003\.params .*; the epochs there are 7'):
        Embedder.load(tmp_path / 'model,3', engine)


def test_without_the_package_there_is_no_conversion(cache, small, exported, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(MissingExtra, match=re.escape(install_command('onnx'))):
        Embedder.load(small.checkpoint, 'onnxruntime', image_shape=SHAPE)
    assert exported.calls == []
    assert not Path(cache, 'onnx').exists()


def test_a_cache_that_cannot_be_written_is_one_sentence(cache, small):
    cache.parent.mkdir()
    cache.write_text('no folder')
    with pytest.raises(
        ConfigError,
        match=r'cannot be kept: .*onnx.* cannot be written: .*XDG_CACHE_HOME names another folder',
    ):
        Embedder.load(small.checkpoint, 'onnxruntime', image_shape=SHAPE)
    assert Embedder.load(small.checkpoint, 'auto', image_shape=SHAPE).engine == 'mxnet'


AT_ONCE = """
import sys, time
from recognition.embed import Embedder
from recognition.export import onnx_export
export_onnx = onnx_export.export_onnx
def slow(*args, **settings):
    print('made', flush=True)
    time.sleep(1)  # or else they would hardly meet
    return export_onnx(*args, **settings)
onnx_export.export_onnx = slow
while time.time() < float(sys.argv[2]):
    time.sleep(0.01)
print(Embedder.load(sys.argv[1], 'onnxruntime', image_shape=(14, 12, 3)).engine)
"""


def test_processes_that_start_at_once_make_it_once(cache, small):
    start = str(time.time() + 3)
    words = [sys.executable, '-W', 'ignore', '-c', AT_ONCE, small.checkpoint, start]
    started = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [each.communicate(timeout=120) for each in started]
    assert [each.returncode for each in started] == [0, 0], told
    assert ''.join(out for out, _ in told).split().count('made') == 1
    assert len(list((cache / 'onnx').glob('*.onnx'))) == 1


@pytest.mark.torch
def test_a_checkpoint_for_ncnn(cache, small, monkeypatch):
    calls = []

    def counted(*args, **settings):
        calls.append((*args[:2], settings))
        return export_ncnn(*args, **settings)

    monkeypatch.setattr('recognition.export.ncnn_export.export_ncnn', counted)
    expected = Embedder.load(small.checkpoint, 'mxnet', image_shape=SHAPE)(images())
    for _ in range(2):
        embedder = Embedder.load(small.checkpoint, 'ncnn', image_shape=SHAPE)
        np.testing.assert_allclose(embedder(images()), expected, atol=1e-4)
    assert calls == [(Path(small.checkpoint[:-2]), 7, {'image_shape': SHAPE, 'output_layer': None})]
    (graph,) = (cache / 'ncnn').glob('*.param')
    by_file = Embedder.load(graph, 'ncnn')  # the size is told beside it
    np.testing.assert_allclose(by_file(images()), expected, atol=1e-4)
    assert by_file.network == embedder.network


@pytest.mark.torch
def test_few_pairs_are_kept_and_they_are_whole(cache, tmp_path):
    for number in range(KEPT + 1):
        model = write_checkpoint(tmp_path / 'model', number, make_values(number))
        Embedder.load(model, 'ncnn', image_shape=SHAPE)
    names = [path.name for path in (cache / 'ncnn').iterdir() if not path.name.startswith('.')]
    assert sorted(map(names.count, names)) == [1] * 3 * KEPT
    assert {name.partition('.')[2] for name in names} == {'param', 'bin', 'json'}
    assert len({name.partition('.')[0] for name in names}) == KEPT


def test_without_pnnx_the_sentence_says_so(cache, small, monkeypatch):
    monkeypatch.setattr('recognition.export.pnnx.find_spec', lambda name: None)
    with pytest.raises(MissingExtra, match='files for ncnn are made by pnnx: pip install --no-deps pnnx'):
        Embedder.load(small.checkpoint, 'ncnn', image_shape=SHAPE)
