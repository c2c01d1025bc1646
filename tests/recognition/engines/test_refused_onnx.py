"""ONNX files that cannot be embedded: one sentence, in which no package speaks of its source."""

from __future__ import annotations

import re

import onnx
import pytest

from config.errors import CheckpointError
from recognition.embed import Embedder
from tests.helpers.small_network import FORMS, SHAPE, write_foreign

ENGINES = ('onnxruntime', 'openvino')

pytestmark = pytest.mark.usefixtures('cache')


def opened(path, engine='onnxruntime'):
    return Embedder.load(path, engine, image_shape=SHAPE)


def test_a_graph_without_an_output(small, tmp_path):
    path = write_foreign(tmp_path / 'net.onnx', small.values)
    model = onnx.load(str(path))
    del model.graph.output[:]
    onnx.save(model, str(path))
    with pytest.raises(CheckpointError, match=r'net\.onnx is damaged: it has no output$'):
        opened(path)


@pytest.mark.parametrize('engine', ENGINES)
def test_a_size_that_an_open_graph_cannot_take_is_refused(small, tmp_path, engine):
    """OpenVINO would run on and give numbers."""
    path = write_foreign(tmp_path / 'net.onnx', small.values, **FORMS['open sides'])
    with pytest.raises(
        CheckpointError, match=r'cannot run the network on images of|is damaged, or no network'
    ):
        Embedder.load(path, engine, image_shape=(40, 40, 3))


@pytest.mark.parametrize('change', ['opset', 'ir', 'operator'])
def test_what_onnxruntime_says_is_put_without_its_source(small, tmp_path, change):
    path = write_foreign(tmp_path / 'net.onnx', small.values)
    model = onnx.load(str(path))
    if change == 'opset':
        model.opset_import[0].version = 99
    elif change == 'ir':
        model.ir_version = 99
    else:
        model.graph.node[-1].op_type = 'Unknown'
    onnx.save(model, str(path))
    with pytest.raises(
        CheckpointError, match=r'net\.onnx is damaged, or no network that can be loaded: \w'
    ) as caught:
        opened(path)
    assert not re.search(r'::|\.cc|\.h:|ONNXRuntimeError', str(caught.value))
