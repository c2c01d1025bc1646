"""Files of MXNet's own exporter, repaired as it has to be for today's onnx."""

from __future__ import annotations

import sys
import types

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from config import resolve
from recognition.weights.onnx.candidates import identify
from recognition.weights.onnx.reader import load_file, read_onnx
from tests.helpers.narrow import small
from tests.helpers.onnx import rewritten as other
from tests.recognition.weights.onnx.test_reader import SHAPE, assert_same

import mxnet as mx

IR_VERSION, OPSET = 10, 21  # the newest that onnxruntime 1.19 reads, the last one for Python 3.9
TYPES = {np.dtype('float32'): TensorProto.FLOAT, np.dtype('int64'): TensorProto.INT64}


@pytest.fixture
def older_onnx(monkeypatch):
    """Give onnx the table of types that it had when MXNet was written."""
    mapping = types.ModuleType('onnx.mapping')
    mapping.NP_TYPE_TO_TENSOR_TYPE = TYPES
    mapping.TENSOR_TYPE_TO_NP_TYPE = {number: dtype for dtype, number in TYPES.items()}
    monkeypatch.setitem(sys.modules, 'onnx.mapping', mapping)
    monkeypatch.setattr(onnx, 'mapping', mapping, raising=False)
    monkeypatch.setattr(onnx.defs, 'onnx_opset_version', lambda: OPSET)


def export(prefix, path):
    """Export a checkpoint with MXNet, and give the slopes the axes that ONNX needs and fixed gammas their 1."""
    from mxnet import onnx as mxnet_onnx

    symbol, args, auxs = mx.model.load_checkpoint(str(prefix), 1)
    fixed = {name for name, held in symbol.attr_dict().items() if held.get('fix_gamma') == 'True'}
    args.update({f'{name}_gamma': mx.nd.ones_like(args[f'{name}_gamma']) for name in fixed})
    mxnet_onnx.export_model(symbol, {**args, **auxs}, [(1, SHAPE[2], *SHAPE[:2])], np.float32, str(path))
    model = onnx.load(str(path))
    slopes = {node.input[1] for node in model.graph.node if node.op_type == 'PRelu'}
    for each in model.graph.initializer:
        if each.name in slopes:
            array = numpy_helper.to_array(each).reshape(-1, 1, 1)
            each.CopyFrom(numpy_helper.from_array(array, each.name))
    kept = [each for each in model.graph.input if each.name not in other.arrays(model)]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(('preset', 'settings'), [('r18', {'net_se': True}), ('y1', {})], ids=str)
def test_the_network_is_recognised_and_computes_the_same(
    preset, settings, older_onnx, save, make_images, tmp_path
):
    cfg = small(preset, image_shape=SHAPE, **settings)
    path = export(save(cfg), tmp_path / 'net.onnx')
    network, found = identify(load_file(path), {'net_multiplier': cfg.net_multiplier})
    found = resolve(network, **found)
    assert network == preset
    assert (found.net_se, found.net_output, found.input_mean) == (cfg.net_se, cfg.net_output, 127.5)
    assert found.input_scale == cfg.input_scale
    images = make_images(SHAPE, count=1)
    assert_same(path, found, read_onnx(path, found), images)
