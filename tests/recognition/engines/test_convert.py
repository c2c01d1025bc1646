"""A checkpoint becomes an ONNX file once, and is compared with MXNet every time."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from config.errors import CheckpointError, MissingExtra
from recognition.embed import Embedder
from recognition.engines.convert import KEPT
from tests.small_network import SHAPE, make_values, write_checkpoint, write_onnx


@pytest.fixture
def exported(monkeypatch):
    """Stand in for the export; return what it was asked for, and the values that it writes."""
    asked = SimpleNamespace(calls=[], values=None)

    def export_onnx(prefix, epoch, output, *, image_shape):
        asked.calls.append((str(prefix), epoch, tuple(image_shape)))
        write_onnx(output, asked.values)

    monkeypatch.setitem(sys.modules, 'recognition.export', SimpleNamespace(export_onnx=export_onnx))
    return asked


@pytest.mark.parametrize('engine', ['onnxruntime', 'openvino'])
def test_a_checkpoint_is_converted_once(cache, small, exported, engine):
    exported.values = small.values
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    expected = Embedder.load(small.checkpoint, 'mxnet', image_shape=SHAPE)(images)
    for _ in range(2):
        embedder = Embedder.load(small.checkpoint, engine, image_shape=SHAPE)
        np.testing.assert_allclose(embedder(images), expected, atol=1e-5)
    assert exported.calls == [(small.checkpoint[:-2], 7, SHAPE)]


def test_an_export_that_went_wrong_is_refused(cache, small, exported):
    exported.values = make_values(seed=3)
    with pytest.raises(CheckpointError, match=r'the engine onnxruntime .*disagrees with mxnet'):
        Embedder.load(small.checkpoint, 'onnxruntime', image_shape=SHAPE)
    assert Embedder.load(small.checkpoint, 'auto', image_shape=SHAPE).engine == 'mxnet'


def test_few_converted_networks_are_kept(cache, tmp_path, exported):
    for number in range(KEPT + 2):
        exported.values = make_values(seed=number)
        model = write_checkpoint(tmp_path / 'model', number, exported.values)
        Embedder.load(model, 'onnxruntime', image_shape=SHAPE)
    assert len(exported.calls) == KEPT + 2
    assert len(list((cache / 'onnx').iterdir())) == KEPT


def test_without_the_package_there_is_no_conversion(cache, small, exported, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(MissingExtra, match=r"pip install 'facesymbols\[onnx\]'"):
        Embedder.load(small.checkpoint, 'onnxruntime', image_shape=SHAPE)
    assert exported.calls == []
    assert not Path(cache, 'onnx').exists()
