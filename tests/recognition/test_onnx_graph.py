"""Each operator in ONNX against MXNet's own, by onnxruntime; and the traps of MXNet's exporter, one by one."""

from __future__ import annotations

import sys
import time

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from config import network, resolve
from config.errors import ConfigError, MissingExtra
from recognition.onnx_draft import LARGEST
from recognition.onnx_graph import IR_VERSION, OPSET, RULES, to_onnx
from symbols import get_symbol, list_activations, list_heads
from symbols.nodes import load_symbol
from symbols.prelu_forms import as_operators
from symbols.rewriting import describe

import mxnet as mx

S = mx.sym
IMAGE = (7, 6, 4)  # height, width, channels
LIMIT = 1e-5  # of the largest value


def data():
    return S.var('data')


def drawn(symbol, image_shape=IMAGE, seed=0):
    """Return random values for the parameters of a symbol; variances and the like are above 0."""
    random = np.random.RandomState(seed)
    height, width, channels = image_shape
    shapes, _, states = symbol.infer_shape(data=(2, channels, height, width))
    values = {}
    names = (*symbol.list_arguments(), *symbol.list_auxiliary_states())
    for name, shape in zip(names, (*shapes, *states)):
        low, high = (0.3, 1.5) if name.endswith(('gamma', 'var', 'alpha')) else (-1, 1)
        values[name] = random.uniform(low, high, shape).astype(np.float32)
    values.pop('data')
    return values


def run_onnx(model, images):
    """Return what onnxruntime computes of images (N, C, H, W)."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {'data': images})[0]


def run_mxnet(symbol, values, images):
    arrays = {name: mx.nd.array(value) for name, value in values.items()}
    states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    arguments = {name: arrays[name] for name in symbol.list_arguments() if name != 'data'}
    executor = symbol.bind(
        mx.cpu(), {**arguments, 'data': mx.nd.array(images)}, aux_states=states, grad_req='null'
    )
    return executor.forward(is_train=False)[0].asnumpy()


def assert_same(symbol, image_shape=IMAGE, *, spread=3.0, low=None, limit=LIMIT, values=None):
    """Compare both on two batch sizes; values of images are within -spread..spread, or from `low` on."""
    values = drawn(symbol, image_shape) if values is None else values
    model = to_onnx(symbol, values, image_shape)
    height, width, channels = image_shape
    for batch in (1, 3):
        random = np.random.RandomState(batch)
        images = random.uniform(-spread if low is None else low, spread, (batch, channels, height, width))
        images = images.astype(np.float32)
        ours, theirs = run_onnx(model, images), run_mxnet(symbol, values, images)
        assert ours.shape == theirs.shape
        assert np.isfinite(theirs).all()
        assert np.abs(ours - theirs).max() <= limit * np.abs(theirs).max()
    return model


def pool(kernel=(3, 3), stride=(2, 2), pad=(1, 1), **settings):
    return S.Pooling(data(), kernel=kernel, stride=stride, pad=pad, **settings)


def conv(**settings):
    return S.Convolution(data(), **{'kernel': (3, 3), 'num_filter': 8, **settings})


def column():
    """(N, 4, 1, 1), to be broadcast."""
    return S.mean(data(), axis=(2, 3), keepdims=True)


def positive():
    return S.abs(data()) + 0.5


OPERATORS = {
    'Convolution': lambda: conv(),
    'Convolution, no bias, strided, padded': lambda: conv(no_bias=True, stride=(2, 1), pad=(1, 2)),
    'Convolution, grouped': lambda: conv(num_group=2, pad=(1, 1)),
    'Convolution, depthwise': lambda: conv(num_group=4, no_bias=True),
    'Convolution, dilated': lambda: conv(dilate=(2, 1), pad=(2, 1)),
    'BatchNorm': lambda: S.BatchNorm(data(), fix_gamma=False, eps=2e-5),
    "BatchNorm, MXNet's defaults": lambda: S.BatchNorm(data()),
    'BatchNorm of an embedding': lambda: S.BatchNorm(S.Flatten(data()), fix_gamma=True, eps=2e-5),
    'BatchNorm with its statistics': lambda: S.BatchNorm(data(), use_global_stats=True, fix_gamma=False),
    'FullyConnected': lambda: S.FullyConnected(data(), num_hidden=5),
    'FullyConnected, no bias': lambda: S.FullyConnected(S.Flatten(data()), num_hidden=5, no_bias=True),
    'FullyConnected, no flatten': lambda: S.FullyConnected(data(), num_hidden=5, flatten=False),
    'FullyConnected, no flatten, no bias': lambda: S.FullyConnected(
        data(), num_hidden=5, flatten=False, no_bias=True
    ),
    'FullyConnected, computed weight': lambda: S.FullyConnected(
        S.Flatten(data()), S.L2Normalization(S.var('w', shape=(5, 168))), num_hidden=5, no_bias=True
    ),
    'FullyConnected, no flatten, computed weight': lambda: S.FullyConnected(
        data(), S.L2Normalization(S.var('w', shape=(5, 6))), num_hidden=5, no_bias=True, flatten=False
    ),
    **{
        f'Activation {kind}': lambda kind=kind: S.Activation(data() * 10, act_type=kind)
        for kind in ('relu', 'sigmoid', 'tanh', 'softrelu', 'softsign')
    },
    'LeakyReLU': lambda: S.LeakyReLU(data()),
    'LeakyReLU of slope': lambda: S.LeakyReLU(data(), act_type='leaky', slope=0.1),
    'LeakyReLU elu': lambda: S.LeakyReLU(data(), act_type='elu', slope=1.3),
    'LeakyReLU selu': lambda: S.LeakyReLU(data(), act_type='selu'),
    'LeakyReLU gelu': lambda: S.LeakyReLU(data(), act_type='gelu'),
    'LeakyReLU prelu': lambda: S.LeakyReLU(data(), act_type='prelu'),
    'LeakyReLU prelu, shared': lambda: S.LeakyReLU(data(), S.var('a', shape=(1,)), act_type='prelu'),
    'LeakyReLU prelu of an embedding': lambda: S.LeakyReLU(S.Flatten(data()), act_type='prelu'),
    'LeakyReLU prelu, computed': lambda: S.LeakyReLU(
        data(), S.sqrt(S.var('a_alpha', shape=(4,))), act_type='prelu'
    ),
    'L2Normalization instance': lambda: S.L2Normalization(data(), mode='instance'),
    'L2Normalization channel': lambda: S.L2Normalization(data(), mode='channel'),
    'L2Normalization spatial': lambda: S.L2Normalization(data(), mode='spatial', eps=0.5),
    'L2Normalization of an embedding': lambda: S.L2Normalization(S.Flatten(data())),
    'Pooling max': lambda: pool(pool_type='max'),
    'Pooling max, full': lambda: pool(pool_type='max', pooling_convention='full', pad=(0, 1)),
    'Pooling avg': lambda: pool(pool_type='avg'),
    'Pooling avg, without the padding': lambda: pool(pool_type='avg', count_include_pad=False),
    'Pooling avg, full': lambda: pool(pool_type='avg', pooling_convention='full', kernel=(4, 4)),
    'Pooling avg, full, without the padding': lambda: pool(
        pool_type='avg', pooling_convention='full', kernel=(4, 4), count_include_pad=False
    ),
    'Pooling avg, one step': lambda: S.Pooling(data(), kernel=(2, 2), pool_type='avg'),
    'Pooling global avg': lambda: S.Pooling(data(), global_pool=True, kernel=(7, 7), pool_type='avg'),
    'Pooling global max': lambda: S.Pooling(data(), global_pool=True, pool_type='max'),
    'Concat': lambda: S.Concat(data(), data() * 2, dim=1),
    'Concat, counted from behind': lambda: S.Concat(data(), data() * 2, dim=-3),
    'Dropout': lambda: S.Dropout(data() * 2, p=0.4),
    'the input itself': lambda: S.Dropout(data()),
    'identity': lambda: S.identity(data()) + S.BlockGrad(data()),
    'Cast': lambda: S.Cast(S.Cast(data() * 9, dtype='int32'), dtype='float32'),
    'clip': lambda: S.clip(data(), a_min=-0.5, a_max=1.25),
    'softmax': lambda: S.softmax(S.Flatten(data())),
    'softmax over channels': lambda: S.softmax(data(), axis=1),
    'scalars': lambda: (data() - 127.5) * 0.0078125 + 1 / 3,
    'scalars from the left': lambda: (1 - data()) * (2 / positive()),
    'division by a scalar': lambda: data() / 128,
    'powers': lambda: positive() ** 1.5 + 1.5 ** data(),
    'bounds': lambda: S._internal._minimum_scalar(S._internal._maximum_scalar(data(), scalar=-1), scalar=2),
    **{
        f'elemwise_{word}': lambda word=word: getattr(S, f'elemwise_{word}')(data(), positive())
        for word in ('add', 'sub', 'mul', 'div')
    },
    **{
        f'broadcast_{word}': lambda word=word: getattr(S, f'broadcast_{word}')(
            positive(), S.abs(column()) + 1
        )
        for word in ('add', 'sub', 'mul', 'div', 'maximum', 'minimum', 'power')
    },
    'maximum, minimum': lambda: S.maximum(data(), column_like()) - S.minimum(data(), column_like()),
    'power': lambda: S.pow(positive(), column_like()),
    'add_n': lambda: S.add_n(data(), data() * 2, positive()),
    **{
        word: lambda word=word: getattr(S, word)(positive() if word in ('sqrt', 'log') else data())
        for word in ('relu', 'sigmoid', 'tanh', 'softsign', 'erf', 'sqrt', 'exp', 'log', 'abs', 'negative')
    },
    'square': lambda: S.square(data()),
    **{
        f'{word} over axes': lambda word=word: getattr(S, word)(data(), axis=(1, 3))
        for word in ('mean', 'sum')
    },
    **{
        f'{word} over one axis': lambda word=word: getattr(S, word)(data(), axis=1, keepdims=True)
        for word in ('mean', 'sum', 'max', 'min', 'norm')
    },
    'mean of all': lambda: S.mean(data()),
    'sum but for the batch': lambda: S.sum(data(), axis=0, exclude=True),
    'mean of the whole batch': lambda: S.broadcast_mul(
        data(), S.mean(data(), axis=(0, 1, 2, 3), keepdims=True)
    ),
    'Flatten': lambda: S.Flatten(data()),
    'Reshape': lambda: S.Reshape(data(), shape=(0, -1, 3)),
    'Reshape, the batch found': lambda: S.Reshape(data(), shape=(-1, 168)),
    'Reshape, codes': lambda: S.Reshape(data(), shape=(0, -4, 2, 2, -2)),
    'Reshape, reversed': lambda: S.Reshape(data(), shape=(-1, 0), reverse=True),
    'Reshape of batch and channels': lambda: S.Reshape(data(), shape=(-3, -2)),
    'expand_dims, squeeze': lambda: S.squeeze(S.expand_dims(data(), axis=1) * 2, axis=1),
    'transpose': lambda: S.transpose(data(), axes=(0, 2, 3, 1)),
    'SwapAxis': lambda: S.SwapAxis(data(), dim1=1, dim2=2),
    'channels shuffled': lambda: S.Reshape(
        S.SwapAxis(S.Reshape(data(), shape=(0, -4, 2, -1, -2)), dim1=1, dim2=2), shape=(0, -3, -2)
    ),
    'slice': lambda: S.slice(data(), begin=(None, 1, 2), end=(None, 3, -1), step=(None, 1, 2)),
    'slice backwards': lambda: S.slice(data(), begin=(None, None), end=(None, None), step=(1, -1)),
    'slice_axis': lambda: S.slice_axis(data(), axis=2, begin=1, end=None) * 2,
    'reverse': lambda: S.reverse(data(), axis=(2, 3)),
    'reverse of a weight': lambda: S.Convolution(
        data(),
        S.reverse(S.var('w', shape=(8, 4, 3, 3)), axis=(2, 3)),
        kernel=(3, 3),
        num_filter=8,
        no_bias=True,
    ),
    'SliceChannel': lambda: mirrored_halves(),
    'broadcast_like': lambda: S.broadcast_like(column(), data()) + data(),
    'broadcast_axis': lambda: S.broadcast_axis(column(), axis=(2, 3), size=(7, 6)) + data(),
    'two nodes of one name': lambda: S.relu(S.relu(data() - 1, name='a') - 0.5, name='a'),
    'an output that is read again': lambda: S.relu(S.relu(data(), name='a') * 0 + 1, name='b'),
}


def column_like():
    return S.broadcast_like(column(), data())


def mirrored_halves():
    halves = S.SliceChannel(data(), num_outputs=2, axis=1)
    return S.Concat(halves[1], halves[0], dim=1)


@pytest.mark.parametrize('name', OPERATORS)
def test_an_operator_gives_mxnets_numbers(name):
    assert_same(OPERATORS[name]())


def test_every_rule_is_tried():
    tried = {node['op'] for build in OPERATORS.values() for node in describe(build())['nodes']}
    assert set(RULES) - tried == {'make_loss'}  # no inference has it, and it gives what it reads


@pytest.mark.parametrize(('height', 'width'), [(6, 7), (7, 7), (8, 9), (9, 5)])
@pytest.mark.parametrize('kind', ['max', 'avg'])
@pytest.mark.parametrize('convention', ['valid', 'full'])
def test_windows_of_every_size(height, width, kind, convention):
    for kernel, stride, pad in ((2, 2, 0), (3, 1, 1), (3, 2, 0), (3, 2, 1), (4, 3, 0), (4, 2, 1), (5, 2, 1)):
        settings = {'kernel': (kernel,) * 2, 'stride': (stride,) * 2, 'pad': (pad,) * 2}
        settings = {**settings, 'pool_type': kind, 'pooling_convention': convention}
        for included in (True, False):
            assert_same(pool(**settings, count_include_pad=included), (height, width, 2))


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
    start = time.perf_counter()
    to_onnx(symbol, values, IMAGE)
    assert time.perf_counter() - start < 2


# The options.


def test_the_embedding_is_given_the_length_1():
    symbol = S.FullyConnected(data(), num_hidden=5)
    values = drawn(symbol)
    images = np.random.RandomState(1).uniform(-3, 3, (3, 4, 7, 6)).astype(np.float32)
    plain = run_mxnet(symbol, values, images)
    unit = run_onnx(to_onnx(symbol, values, IMAGE, normalise=True), images)
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-6)


def test_a_feature_map_is_not_normalised():
    with pytest.raises(ConfigError, match='its output has 4 axes; normalise=True needs an embedding'):
        to_onnx(S.relu(data()), {}, IMAGE, normalise=True)


def test_images_are_taken_as_bytes_in_rows():
    symbol = S.FullyConnected((data() - 127.5) * 0.0078125, num_hidden=5)
    values = drawn(symbol)
    images = np.random.RandomState(1).randint(0, 256, (3, 7, 6, 4)).astype(np.uint8)
    bytewise = run_onnx(to_onnx(symbol, values, IMAGE, uint8_nhwc=True), images)
    np.testing.assert_allclose(bytewise, run_mxnet(symbol, values, images.transpose(0, 3, 1, 2)), atol=1e-5)


# What cannot be exported.

REFUSED = {
    'no rule': (
        lambda: S.LRN(data(), nsize=3, name='a'),
        "'a' is an operator LRN, for which there is no rule",
    ),
    'layout': (
        lambda: S.Convolution(data(), kernel=(3,) * 2, num_filter=2, layout='NHWC', name='a'),
        "'a', an operator Convolution, cannot be exported: its layout is NHWC",
    ),
    'pool type': (lambda: pool(pool_type='lp', p_value=2), "no rule for pool_type='lp'"),
    'axis': (lambda: S.BatchNorm(data(), axis=3), 'its channels are on axis 3'),
    'dropout': (lambda: S.Dropout(data(), mode='always'), 'outside of training, too'),
    'temperature': (lambda: S.softmax(data(), temperature=2.0), 'has a temperature'),
    'norm': (lambda: S.norm(data(), ord=1, axis=1), 'not the Euclidean one'),
    'split': (lambda: S.SliceChannel(data(), num_outputs=4, squeeze_axis=True)[0], 'drops the axis'),
    'some axes': (lambda: S.broadcast_like(column(), data(), lhs_axes=2, rhs_axes=2), 'some axes alone'),
    'rectifier': (lambda: S.LeakyReLU(data(), act_type='rrelu')[0], "no rule for act_type='rrelu'"),
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
        'dot',
    ),
    'type': (lambda: S.Cast(data(), dtype='bool'), "no rule for dtype='bool'"),
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
    monkeypatch.setattr('recognition.onnx_draft.LARGEST', 1000)
    symbol = S.FullyConnected(data(), num_hidden=5)
    with pytest.raises(ConfigError, match='its weights take 3,380 bytes, and an ONNX file holds 1,000'):
        to_onnx(symbol, drawn(symbol), IMAGE)
    assert LARGEST < 2**31


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(MissingExtra, match=r"pip install 'facesymbols\[onnx\]'"):
        to_onnx(S.relu(data()), {}, IMAGE)


# Everything that this project builds.


@pytest.mark.parametrize('preset', network)
def test_there_is_a_rule_for_whatever_a_preset_is_made_of(preset):
    built = [get_symbol(resolve(preset, net_output=head)) for head in list_heads()[:1]]
    built += [get_symbol(resolve(preset, net_act=list_activations()[0]))]
    used = {node['op'] for symbol in built for node in describe(as_operators(symbol))['nodes']}
    assert used - {'null'} <= set(RULES)


def test_a_symbol_from_a_file_is_read_as_mxnet_names_its_operators(tmp_path):
    """Files of older versions have names that have since become aliases."""
    S.FullyConnected((data() - 1) * 2 + data(), num_hidden=3, name='fc').save(str(tmp_path / 's.json'))
    path = tmp_path / 's.json'
    path.write_text(
        path.read_text().replace('"_minus_scalar"', '"_MinusScalar"').replace('elemwise_add', '_Plus')
    )
    assert_same(load_symbol(path))
