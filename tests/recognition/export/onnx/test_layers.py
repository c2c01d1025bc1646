"""Each operator in ONNX against MXNet's own, by onnxruntime."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recognition.export.onnx.converter import RULES, to_onnx
from symbols.ir.rewriter import describe
from symbols.passes.prelu import as_operators
from tests.helpers.onnx.cases import MORE, positive
from tests.helpers.onnx_numbers import IMAGE, S, assert_same, column, data, drawn, pool

PAGE = Path(__file__).parents[4] / 'docs' / 'onnx-operators.md'


def conv(**settings):
    return S.Convolution(data(), **{'kernel': (3, 3), 'num_filter': 8, **settings})


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
    'softmax over the last axis': lambda: S.softmax(data()),
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
    'sum but for the channels': lambda: S.sum(data(), axis=-3, exclude=True),
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
    'reverse of three channels': lambda: S.reverse(three(), axis=1),
    '_image_normalize': lambda: S.image.normalize(three(), mean=(1, 2, 3), std=(1, 2, 0.5)),
    'Pad': lambda: S.Pad(data(), mode='constant', pad_width=(0, 0, 0, 0, 0, 1, 2, 0)),
    'SliceChannel': lambda: mirrored_halves(),
    'broadcast_like': lambda: S.broadcast_like(column(), data()) + data(),
    'broadcast_axis': lambda: S.broadcast_axis(column(), axis=(2, 3), size=(7, 6)) + data(),
    'two nodes of one name': lambda: S.relu(S.relu(data() - 1, name='a') - 0.5, name='a'),
    **MORE,
    'an output that is read again': lambda: S.relu(S.relu(data(), name='a') * 0 + 1, name='b'),
}


def column_like():
    return S.broadcast_like(column(), data())


def three():
    return S.slice_axis(data(), axis=1, begin=0, end=3)


def mirrored_halves():
    halves = S.SliceChannel(data(), num_outputs=2, axis=1)
    return S.Concat(halves[1], halves[0], dim=1)


@pytest.mark.parametrize('name', OPERATORS)
def test_an_operator_gives_mxnets_numbers(name):
    assert_same(OPERATORS[name]())


def test_every_rule_is_tried_and_the_page_of_operators_is_what_is_exported():
    """A row of the page names all that a rule can make; each name is made of some case, and nothing else is."""
    rows = re.findall(r'^\| `(\w+)` \| (.*) \|$', PAGE.read_text(encoding='utf-8'), re.MULTILINE)
    written = {name: set(re.findall(r'`(\w+)`', made)) for name, made in rows}
    made = {name: set() for name in RULES}
    for build in OPERATORS.values():
        symbol = build()
        used = {node['op'] for node in describe(as_operators(symbol))['nodes']} - {'null'}
        found = {node.op_type for node in to_onnx(symbol, drawn(symbol), IMAGE).graph.node} - {'Identity'}
        assert found <= set().union(*(written[name] for name in used))
        for name in used:
            made[name] |= found & written[name]
    del made['make_loss']  # no inference has it, and it gives what it reads
    assert made == {name: written[name] for name in made}


@pytest.mark.parametrize(('height', 'width'), [(6, 7), (7, 7), (8, 9), (9, 5)])
@pytest.mark.parametrize('kind', ['max', 'avg'])
@pytest.mark.parametrize('convention', ['valid', 'full'])
def test_windows_of_every_size(height, width, kind, convention):
    for kernel, stride, pad in ((2, 2, 0), (3, 1, 1), (3, 2, 0), (3, 2, 1), (4, 3, 0), (4, 2, 1), (5, 2, 1)):
        settings = {'kernel': (kernel,) * 2, 'stride': (stride,) * 2, 'pad': (pad,) * 2}
        settings = {**settings, 'pool_type': kind, 'pooling_convention': convention}
        for included in (True, False):
            assert_same(pool(**settings, count_include_pad=included), (height, width, 2))
