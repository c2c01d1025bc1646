"""The front of exported networks: by names that insightface's rule reads, and with pixels centred by the caller."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from config.errors import ConfigError
from recognition.checkpoint.network import load_network, save_network
from recognition.embedding.conversion_cache import onnx_of
from recognition.engines.model import Model
from recognition.export.onnx_export import Options, export_onnx, read_metadata
from recognition.quantize import quantize
from tests.helpers.exported import SHAPE, export, images
from tests.helpers.narrow import small

import mxnet as mx

# (x - mean) * scale of InsightFace's networks, of PyTorch's, of Keras's in BGR, and of those that do nothing; and what
# is left of it before the first convolution where the caller gives (x - 127.5) / 127.5.
NETWORKS = {
    'one mean': ({}, ['Conv']),
    'three means': (
        {'input_mean': (123.675, 116.28, 103.53), 'input_scale': (1 / 58.395, 1 / 57.12, 1 / 57.375)},
        ['Add', 'Conv'],
    ),
    'BGR': (
        {'input_order': 'bgr', 'input_mean': (103.939, 116.779, 123.68), 'input_scale': (0.02, 0.01, 0.015)},
        ['Add', 'Split', 'Concat', 'Conv'],
    ),
    'raw': ({'input_mean': 0.0, 'input_scale': 1.0}, ['Add', 'Conv']),
}
# Of the largest value: float32 rounds by 1.0e-5 on one thread and by 1.3e-5 on two. 1/128 for 1/127.5 is 4e-3.
TOLERANCE = 2e-5


def is_found(path):
    """Whether insightface 2.1 takes the normalisation to be inside: its rule, from model_zoo/arcface_onnx.py."""
    names = [node.name for node in onnx.load(str(path)).graph.node[:8]]
    return tuple(
        any(name.startswith(beginnings) for name in names)
        for beginnings in (('Sub', '_minus'), ('Mul', '_mul'))
    )


def embed(path, data):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {'data': data})[0]


def planes(faces):
    return faces.transpose(0, 3, 1, 2).astype(np.float32)


def assert_close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())


def mxnets(prefix):
    return load_network(prefix, 1, image_shape=SHAPE)(mx.nd.array(planes(images()))).asnumpy()


@pytest.mark.parametrize('pixels', NETWORKS)
@pytest.mark.parametrize('preset', ['r18', pytest.param('y1', marks=pytest.mark.slow)])
def test_normalised_inside_or_outside(preset, pixels, save, tmp_path):
    settings, first = NETWORKS[pixels]
    prefix = save(small(preset, image_shape=SHAPE, **settings))
    path, wanted = tmp_path / 'net.onnx', mxnets(prefix)
    units = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    for fold, unit in ((False, False), (True, True)):
        expected = units if unit else wanted
        for bytewise in (False, True):
            export(prefix, path, options=Options(unit, bytewise, fold))
            assert is_found(path) == (True, True)
            assert read_metadata(path)['pixels'] == {'mean': 0.0, 'scale': 1.0, 'order': 'rgb'}
            assert_close(embed(path, images() if bytewise else planes(images())), expected)
        export(prefix, path, options=Options(unit, fold=fold, pixels='outside'))
        assert is_found(path) == (False, False)
        assert [node.op_type for node in onnx.load(str(path)).graph.node][: len(first)] == first
        told = read_metadata(path)
        assert told['pixels'] == {'mean': 127.5, 'scale': 1 / 127.5, 'order': 'rgb'}
        assert '(x - 127.5) / 127.5' in told['preprocessing']
        assert_close(embed(path, (planes(images()) - 127.5) / 127.5), expected)


def hand_written(x, case):
    """Layers that follow the pixels, where a factor cannot simply go into weights."""
    if case == 'a batch norm':
        return mx.sym.Convolution(mx.sym.BatchNorm(x, name='bn_data'), kernel=(3, 3), num_filter=4)
    if case == 'two readers':
        ways = [mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=4) for _ in range(2)]
        return ways[0] + ways[1]
    if case == 'a shared weight':
        weight = mx.sym.var('shared_weight', shape=(3, 3, 1, 1))
        settings = {'kernel': (1, 1), 'num_filter': 3, 'no_bias': True}
        return mx.sym.Convolution(mx.sym.Convolution(x, weight, **settings), weight, **settings)
    if case == 'groups':
        return mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=6, num_group=3)
    product = x * mx.sym.sigmoid(x)  # nodes that MXNet names _mul0, _minusscalar1
    return mx.sym.Convolution(product * 0.5 - 0.25, kernel=(3, 3), pad=(1, 1), num_filter=4)


@pytest.mark.parametrize('case', ['a batch norm', 'two readers', 'a shared weight', 'groups', 'arithmetic'])
def test_networks_that_others_wrote(case, tmp_path):
    x = (mx.sym.var('data') - 120) * 0.01
    symbol = mx.sym.FullyConnected(hand_written(x, case), num_hidden=5, name='fc1')
    shapes, _, states = symbol.infer_shape(data=(1, 3, 32, 32))
    random = np.random.RandomState(2)
    values = {
        name: mx.nd.array(random.uniform(0.1, 0.5, shape))
        for names, sizes in ((symbol.list_arguments(), shapes), (symbol.list_auxiliary_states(), states))
        for name, shape in zip(names, sizes)
    }
    auxs = {name: values.pop(name) for name in symbol.list_auxiliary_states()}
    values.pop('data')
    save_network(tmp_path / 'm', 1, symbol, values, auxs)
    path, wanted = tmp_path / 'net.onnx', mxnets(tmp_path / 'm')
    for fold in (False, True):
        export(tmp_path / 'm', path, options=Options(fold=fold))
        assert is_found(path) == (True, True)
        assert_close(embed(path, planes(images())), wanted)
        export(tmp_path / 'm', path, options=Options(fold=fold, pixels='outside'))
        assert is_found(path) == (False, False)
        assert_close(embed(path, (planes(images()) - 127.5) / 127.5), wanted)


def test_in_int8_and_in_the_cache_the_names_are_kept(saved, tmp_path, cache):
    export(saved, tmp_path / 'net.onnx', options=Options(fold=True))
    same = np.arange(10) % 2 == 0
    quantize(tmp_path / 'net.onnx', tmp_path / 'int8.onnx', images(8), images(20), same, most_lost=1)
    assert is_found(tmp_path / 'int8.onnx') == (True, True)
    assert read_metadata(tmp_path / 'int8.onnx')['pixels']['mean'] == 0
    assert is_found(onnx_of(Model('checkpoint', saved, 1), SHAPE).path) == (True, True)


def test_what_cannot_be_asked_for_is_one_sentence(saved, tmp_path):
    for options, words in (
        (Options(pixels='outsid'), "pixels='outsid' is not inside or outside; did you mean 'outside'"),
        (Options(pixels='outside', uint8_nhwc=True), r'--uint8-nhwc \(uint8_nhwc\) and --pixels outside'),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            export_onnx(saved, 1, tmp_path / 'net.onnx', options=options)
        assert '\n' not in str(caught.value)
    assert not (tmp_path / 'net.onnx').exists()
