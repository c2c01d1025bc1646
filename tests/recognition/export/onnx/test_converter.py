"""The traps of MXNet's exporter, one by one; what a graph holds; and what has no form in ONNX."""

from __future__ import annotations

import re
import sys
import time

import numpy as np
import pytest
from onnx import numpy_helper

from config import network, resolve
from config.errors import ConfigError, MissingExtra
from recognition.export.onnx.builder import LARGEST
from recognition.export.onnx.converter import IR_VERSION, OPSET, RULES, to_onnx
from recognition.utils.packages import install_command
from symbols import get_symbol
from symbols.ir.nodes import load_symbol
from symbols.ir.rewriter import describe
from symbols.passes.prelu import as_operators
from tests.helpers.onnx_numbers import IMAGE, S, assert_same, data, drawn, pool, run_mxnet, run_onnx

# What MXNet's own exporter does wrong.


@pytest.mark.parametrize('shared', [False, True])
def test_slopes_lie_along_the_channels_where_the_map_is_as_wide_as_they_are_many(shared):
    slopes = S.var('a', shape=(1 if shared else 5,))
    model = assert_same(S.LeakyReLU(data(), slopes, act_type='prelu'), (3, 5, 5))
    (held,) = model.graph.initializer
    assert list(held.dims) == [1 if shared else 5, 1, 1]


def test_a_fixed_gamma_is_1_whatever_is_stored():
    symbol = S.BatchNorm(data(), fix_gamma=True, name='bn')
    values = {**drawn(symbol), 'bn_gamma': np.full(4, 7, np.float32)}
    weights = weights_of(assert_same(symbol, values=values))
    assert [value.tolist() for value in weights.values() if 7 in value] == []
    assert weights['bn_fixed_gamma'].tolist() == [1, 1, 1, 1]


def test_a_gamma_that_another_layer_trains_is_kept_for_it():
    gamma = S.var('gamma')
    fixed = S.BatchNorm(data(), gamma, fix_gamma=True, name='one')
    assert_same(S.BatchNorm(fixed, gamma, fix_gamma=False, name='two'))


def weights_of(model):
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def test_weights_are_no_inputs_and_none_is_left_over():
    symbol = S.FullyConnected(S.BatchNorm(S.Dropout(data()), name='bn'), num_hidden=3, name='fc')
    model = to_onnx(symbol, {**drawn(symbol), 'of_no_node': np.ones(3)}, IMAGE)
    assert [each.name for each in model.graph.input] == ['data']
    assert [each.name for each in model.graph.output] == ['embedding']
    read = {name for node in model.graph.node for name in node.input}
    assert set(weights_of(model)) == read - {'data'} - {
        out for node in model.graph.node for out in node.output
    }
    assert 'Dropout' not in {node.op_type for node in model.graph.node}


def test_the_opset_is_fixed_and_the_batch_is_free():
    model = to_onnx(S.Flatten(data()), {}, IMAGE)
    assert [(each.domain, each.version) for each in model.opset_import] == [('', OPSET)]
    assert (OPSET, IR_VERSION, model.ir_version) == (17, 8, 8)
    shapes = [
        [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [['N', 4, 7, 6], ['N', 168]]


def test_weights_are_copied_as_they_lie_in_memory():
    """MXNet's exporter makes a Python number of each weight, which takes minutes for the 65 million of r100."""
    symbol = S.FullyConnected(data(), num_hidden=200000, no_bias=True, name='fc')
    values = {'fc_weight': np.ones((200000, 168), np.float32)}
    start = time.process_time()
    to_onnx(symbol, values, IMAGE)
    assert time.process_time() - start < 2


# The options.


def test_the_embedding_is_given_the_length_1():
    symbol = S.FullyConnected(data(), num_hidden=5)
    values = drawn(symbol)
    images = np.random.RandomState(1).uniform(-3, 3, (3, 4, 7, 6)).astype(np.float32)
    plain = run_mxnet(symbol, values, images)
    unit = run_onnx(to_onnx(symbol, values, IMAGE, normalise=True), images)
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-6)


def test_a_feature_map_is_not_normalised():
    with pytest.raises(
        ConfigError, match='the network gives maps of 4 x 7 x 6 values, and normalise=True needs an embedding'
    ):
        to_onnx(S.relu(data()), {}, IMAGE, normalise=True)


def test_images_are_taken_as_bytes_in_rows():
    symbol = S.FullyConnected((data() - 127.5) * 0.0078125, num_hidden=5)
    values = drawn(symbol)
    images = np.random.RandomState(1).randint(0, 256, (3, 7, 6, 4)).astype(np.uint8)
    bytewise = run_onnx(to_onnx(symbol, values, IMAGE, uint8_nhwc=True), images)
    np.testing.assert_allclose(bytewise, run_mxnet(symbol, values, images.transpose(0, 3, 1, 2)), atol=1e-5)


# What cannot be exported.


def whole(numbers):
    return S.Cast(numbers, dtype='int32')


def first():
    return S.slice_axis(data(), axis=0, begin=0, end=1)


REFUSED = {
    'no rule': (
        lambda: S.gamma(S.relu(data(), name='r'), name='a'),
        "'a' is an operator gamma, which cannot be exported to ONNX; --output-layer r exports the network up to",
    ),
    'layout': (
        lambda: S.Convolution(data(), kernel=(3,) * 2, num_filter=2, layout='NHWC', name='a'),
        "'a', an operator Convolution, cannot be exported: its layout is NHWC",
    ),
    'pool type': (lambda: pool(pool_type='lp', p_value=3), "pool_type='lp' of 3 is not supported"),
    'axis': (lambda: S.BatchNorm(data(), axis=3), 'its channels are on axis 3'),
    'dropout': (lambda: S.Dropout(data(), mode='always'), 'outside of training, too'),
    'softmax of images': (
        lambda: S.SoftmaxActivation(data()),
        'of whole images on one device and of rows on',
    ),
    'softmax with lengths': (
        lambda: S.softmax(data(), whole(S.argmax(data(), axis=3)), use_length=True),
        'it takes lengths',
    ),
    'one axis behind another': (lambda: S.InstanceNorm(S.Flatten(data())), 'no axis behind the channels'),
    'type that is read': (
        lambda: whole(data()) + 1,
        'it reads int32, and its rule takes float32',
    ),
    'index of all': (lambda: S.argmax(data(), keepdims=True), 'one index among all values'),
    'sum of the batch': (lambda: S.cumsum(data()), 'it sums up images of the batch with each other'),
    'dot of many axes': (
        lambda: S.dot(data(), S.Reshape(data(), shape=(6, -1, 1))),
        'tensors of 4 and 3 axes are not supported',
    ),
    'matrices elsewhere': (
        lambda: S.linalg.gemm2(data(), data(), axis=1, transpose_b=True),
        'not in the last two axes',
    ),
    'batch that is split': (lambda: S.SliceChannel(data(), num_outputs=1, axis=0), 'it splits the batch'),
    'batch that is taken': (lambda: S.take(data(), S.arange(2)), 'takes images out of the batch'),
    'type that is given': (lambda: whole(data()), 'its output is int32, not float32'),
    'repeated for the batch': (
        lambda: S.broadcast_like(first(), data(), lhs_axes=0, rhs_axes=0),
        'it repeats along the batch',
    ),
    'cut to the batch': (
        lambda: S.slice_like(S.tile(first(), reps=(9, 1, 1, 1)), data(), axes=0),
        'images in the batch',
    ),
    'zeros for the batch': (lambda: data() + S.zeros((0, 4, 7, 6)), 'its size depends on the batch'),
    'whole one-hot': (
        lambda: S.Cast(S.one_hot(S.argmax(data(), axis=1), 4, dtype='int32'), dtype='float32'),
        "dtype='int32' is not supported",
    ),
    'hidden output': (lambda: S.BatchNorm(data(), output_mean_var=True)[1], 'its output 1 is read'),
    'window': (
        lambda: pool(kernel=(2, 2), pool_type='max', pooling_convention='full'),
        'a window of it lies outside of the map',
    ),
    'no value': (
        lambda: S.FullyConnected(data(), num_hidden=2, name='fc'),
        "there is no value for 'fc_weight'",
    ),
    'two outputs': (lambda: S.Group([S.relu(data()), data()]), 'has 2 outputs'),
    'two axes': (
        lambda: S.Reshape(S.dot(S.Flatten(data()), S.Flatten(data()), transpose_b=True), shape=(0, 0)),
        'more than one axis of its output grows with the batch',
    ),
    'type': (lambda: S.Cast(S.Cast(data(), dtype='bool'), dtype='float32'), "dtype='bool' is not supported"),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_has_no_form_in_onnx_is_named(name):
    build, words = REFUSED[name]
    symbol = build()
    values = {} if name == 'no value' else drawn(symbol)
    with pytest.raises(ConfigError) as caught:
        to_onnx(symbol, values, IMAGE)
    assert words in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_network_beyond_two_gigabytes_is_refused(monkeypatch):
    monkeypatch.setattr('recognition.export.onnx.builder.LARGEST', 1000)
    symbol = S.FullyConnected(data(), num_hidden=5)
    with pytest.raises(ConfigError, match='weights take 3,380 bytes, and an ONNX file holds 1,000'):
        to_onnx(symbol, drawn(symbol), IMAGE)
    assert LARGEST < 2**31


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(MissingExtra, match=re.escape(install_command('onnx'))):
        to_onnx(S.relu(data()), {}, IMAGE)


# Everything that this project builds.


@pytest.mark.parametrize('preset', network)
def test_there_is_a_rule_for_whatever_a_preset_is_made_of(preset):
    used = {node['op'] for node in describe(as_operators(get_symbol(resolve(preset))))['nodes']}
    assert used - {'null'} <= set(RULES)


def test_a_symbol_from_a_file_is_read_as_mxnet_names_its_operators(tmp_path):
    """Files of older versions have names that have since become aliases."""
    S.FullyConnected((data() - 1) * 2 + data(), num_hidden=3, name='fc').save(str(tmp_path / 's.json'))
    path = tmp_path / 's.json'
    path.write_text(
        path.read_text().replace('"_minus_scalar"', '"_MinusScalar"').replace('elemwise_add', '_Plus')
    )
    assert_same(load_symbol(path))


@pytest.mark.parametrize('settings', [{'net_output': 'E'}, {'net_output': 'GAP'}, {'net_output': 'GDC'}])
def test_a_head_is_a_flatten_and_a_gemm(settings):
    cfg = resolve('r18', net_multiplier=0.125, image_shape=(32, 32, 3), emb_size=8, **settings)
    symbol = get_symbol(cfg)
    model = to_onnx(symbol, drawn(symbol, (32, 32, 3)), cfg.image_shape)
    tail = list(model.graph.node)[-3:]
    assert [node.op_type for node in tail] == ['Flatten', 'Gemm', 'BatchNormalization']
    assert tail[0].output[0] == tail[1].input[0] == 'pre_fc1_flatten'
    assert all(node.op_type != 'Reshape' for node in model.graph.node)
