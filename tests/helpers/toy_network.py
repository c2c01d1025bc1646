"""A small embedding network that is saved and loaded in tests."""

from __future__ import annotations

import numpy as np

from recognition.checkpoint.network import save_network

import mxnet as mx

SHAPE = (16, 16, 3)


def network(width=4, activation='relu'):
    """A small embedding network with every kind of parameter; input 16x16."""
    x = (mx.sym.var('data') - 127.5) * 0.0078125
    x = mx.sym.Convolution(x, num_filter=width, kernel=(3, 3), stride=(2, 2), no_bias=True, name='conv0')
    x = mx.sym.BatchNorm(x, fix_gamma=False, name='bn0')
    x = mx.sym.Activation(x, act_type=activation, name='relu0')
    x = mx.sym.FullyConnected(x, num_hidden=8, name='pre_fc1')
    return mx.sym.BatchNorm(x, fix_gamma=True, eps=2e-5, name='fc1')


def parameters(symbol, seed=0):
    random = np.random.RandomState(seed)
    shapes, _, aux_shapes = symbol.infer_shape(data=(2, 3, 16, 16))
    args = dict(zip(symbol.list_arguments(), shapes))
    drop = {'data', 'softmax_label'}
    arrays = {n: mx.nd.array(random.uniform(0.5, 1, s)) for n, s in args.items() if n not in drop}
    names = symbol.list_auxiliary_states()
    return arrays, {n: mx.nd.array(random.uniform(0.5, 1, s)) for n, s in zip(names, aux_shapes)}


def save_toy(prefix):
    """Save the network as epoch 3; return prefix, symbol, arguments and auxiliary states."""
    symbol = network()
    args, auxs = parameters(symbol)
    save_network(prefix, 3, symbol, args, auxs)
    return prefix, symbol, args, auxs
