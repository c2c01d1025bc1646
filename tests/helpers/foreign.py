"""Small networks as other people's scripts save them: with losses, labels, inputs and layers of any name."""

from __future__ import annotations

import numpy as np

from symbols.ir.losses import label_names
from symbols.ir.rewriter import describe

import mxnet as mx

S = mx.sym
SIDE, CHANNELS = 16, 8
FACE = (1, 3, SIDE, SIDE)
PEOPLE = 5


def body(data='data', layer='conv0'):
    """A map of 8 channels, of pixels in 0..255."""
    x = (S.var(data) - 127.5) * 0.0078125
    x = S.Convolution(x, num_filter=CHANNELS, kernel=(3, 3), stride=(4, 4), no_bias=True, name=layer)
    x = S.BatchNorm(x, fix_gamma=False, eps=2e-5, name=f'{layer}_bn')
    return S.LeakyReLU(x, act_type='prelu', name=f'{layer}_relu')


def face(top='fc1', **names):
    return S.FullyConnected(body(**names), num_hidden=6, name=top)


def scores(top='embedding'):
    return S.FullyConnected(face(top), num_hidden=PEOPLE, name='cls')


def margin(label='softmax_label', top='fc1'):
    """InsightFace's margin, which reads the label through pick and one_hot, and its loss."""
    given = S.var(label)
    weight = S.L2Normalization(S.var('fc7_weight', shape=(PEOPLE, 6)))
    unit = S.L2Normalization(face(top)) * 64
    logits = S.FullyConnected(unit, weight, no_bias=True, num_hidden=PEOPLE, name='fc7')
    target = S.pick(logits, given, axis=1)
    moved = S.cos(S.arccos(target / 64) + 0.5) * 64
    more = S.expand_dims(moved - target, axis=1)
    return S.SoftmaxOutput(
        logits + S.broadcast_mul(S.one_hot(given, depth=PEOPLE), more), given, name='softmax'
    )


def values_of(symbol, seed=3, **shapes):
    """Return random values of the parameters of a symbol by name, arguments and auxiliary states."""
    shapes = shapes or {'data': FACE}
    arguments, _, states = symbol.infer_shape_partial(**shapes)  # of a label it may be unknown
    random, labels = np.random.RandomState(seed), label_names(describe(symbol))
    names = symbol.list_arguments(), symbol.list_auxiliary_states()
    found = []
    for each, sizes in zip(names, (arguments, states)):
        drawn = {
            name: random.uniform(0.3, 0.9, size) - 0.5 * (len(size) > 1) for name, size in zip(each, sizes)
        }
        found.append({name: mx.nd.array(v) for name, v in drawn.items() if name not in {*shapes, *labels}})
    return found


def save(prefix, symbol, **shapes):
    """Write a symbol as MXNet does, as epoch 1 with random values, and return the prefix."""
    mx.model.save_checkpoint(str(prefix), 1, symbol, *values_of(symbol, **shapes))
    return prefix


def faces(count=2, shape=FACE):
    return np.random.RandomState(7).randint(0, 256, (count, *shape[1:])).astype(np.float32)


def outputs(symbol, prefix, images, data='data', **labels):
    """Return what MXNet itself gives for a symbol with the values of a checkpoint, output by output."""
    saved = {key.partition(':')[2]: value for key, value in mx.nd.load(f'{prefix}-0001.params').items()}
    held, auxs = (
        {name: saved[name] for name in names if name in saved}
        for names in (symbol.list_arguments(), symbol.list_auxiliary_states())
    )
    given = {data: mx.nd.array(images), **{name: mx.nd.zeros(shape) for name, shape in labels.items()}}
    executor = symbol.bind(mx.cpu(), {**held, **given}, aux_states=auxs, grad_req='null')
    return [each.asnumpy() for each in executor.forward(is_train=False)]
