"""A tiny network to export, and what the tests of exported files share."""

from __future__ import annotations

import numpy as np

from recognition.checkpoint.network import save_network
from recognition.export.onnx_export import export_onnx
from tests.helpers.narrow import SMALL_SHAPE

import mxnet as mx

SHAPE = SMALL_SHAPE
EMBEDDING = 24


def layer(x, name, **settings):
    x = mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), no_bias=True, name=name, **settings)
    x = mx.sym.BatchNorm(x, fix_gamma=False, eps=1e-3, name=f'{name}_bn')
    return mx.sym.LeakyReLU(x, act_type='prelu', name=f'{name}_relu')


def tiny(units=EMBEDDING):
    """An embedding network of two convolutions, the second grouped, for images of SHAPE."""
    with mx.name.NameManager():  # counts the names that are not given from 0, whatever ran before
        x = (mx.sym.var('data') - 127.5) * 0.0078125
        return _tiny(x, units)


def _tiny(x, units):
    x = layer(layer(x, 'conv0', num_filter=6, stride=(2, 2)), 'conv1', num_filter=8, num_group=2)
    x = mx.sym.Pooling(mx.sym.Dropout(x), kernel=(2, 2), stride=(2, 2), pool_type='max')
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=units, name='pre_fc1')
    return mx.sym.BatchNorm(x, fix_gamma=True, eps=2e-5, name='fc1')


def save_tiny(prefix, units=EMBEDDING, **values):
    """Write a checkpoint of epoch 1 of the tiny network, with random values but those given, and return its prefix."""
    symbol, random = tiny(units), np.random.RandomState(0)
    height, width, channels = SHAPE
    shapes, _, states = symbol.infer_shape(data=(1, channels, height, width))
    names = (*symbol.list_arguments(), *symbol.list_auxiliary_states())
    arrays = {}
    for name, shape in zip(names, (*shapes, *states)):
        low, high = (0.3, 1.5) if name.endswith(('gamma', 'var')) else (-0.5, 0.5)
        arrays[name] = mx.nd.array(values.get(name, random.uniform(low, high, shape)))
    auxs = {name: arrays.pop(name) for name in symbol.list_auxiliary_states()}
    arrays.pop('data')
    save_network(prefix, 1, symbol, arrays, auxs)
    return prefix


def export(prefix, output, **settings):
    return export_onnx(prefix, 1, output, **{'image_shape': SHAPE, **settings})


def images(count=5, shape=SHAPE):
    return np.random.RandomState(5).randint(0, 256, (count, *shape)).astype(np.uint8)
