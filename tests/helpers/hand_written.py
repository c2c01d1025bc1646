"""Small networks that no preset has: towers, several heads, shared weights, odd names, other scripts' losses."""

from __future__ import annotations

import random
from functools import partial

import numpy as np

from symbols.ir.labels import label_names
from symbols.ir.rewriter import describe

import mxnet as mx

S = mx.sym
ODD = '</script><b>&amp; "x" \'y\' \\n {c|d}: ü 面 /*NETWORK*/\t'
IMAGE = {'data': (1, 3, 16, 16)}


def conv(x, channels, name, **options):
    x = S.Convolution(x, num_filter=channels, kernel=(3, 3), pad=(1, 1), name=name, **options)
    return S.Activation(S.BatchNorm(x, name=f'{name}_bn'), act_type='relu', name=f'{name}_relu')


def chain():
    x = conv(conv(S.var('data'), 4, 'one'), 8, 'two', stride=(2, 2))
    return S.FullyConnected(
        S.Pooling(x, global_pool=True, kernel=(1, 1), pool_type='avg'), num_hidden=3, name='fc'
    )


def residual(units=3):
    x = conv(S.var('data'), 4, 'stem')
    for i in range(units):
        x = x + conv(x, 4, f'unit{i}')
    return S.FullyConnected(x, num_hidden=3, name='fc')


def dense(units=4):
    x = conv(S.var('data'), 4, 'stem')
    for i in range(units):
        x = S.Concat(x, conv(x, 2, f'layer{i}'), name=f'concat{i}')
    return S.FullyConnected(x, num_hidden=3, name='fc')


def dense_from_all(layers=6):
    features = [conv(S.var('data'), 4, 'stem')]
    for i in range(layers):
        features.append(conv(S.Concat(*features, num_args=len(features)), 2, f'layer{i}'))
    return S.FullyConnected(S.Concat(*features, num_args=len(features)), num_hidden=3, name='fc')


def siamese():
    weight = S.var('shared w')

    def tower(name):
        x = S.Convolution(S.var(f'{name}:image'), weight=weight, no_bias=True, num_filter=8, kernel=(3, 3))
        return S.FullyConnected(S.relu(x), num_hidden=4, name=f'{name}: "fc" <b>\\n')

    distance = S.square(tower('left') - tower('right'))
    return S.SoftmaxOutput(S.FullyConnected(distance, num_hidden=2, name='cls'), name='softmax')


def odd_names():
    x = S.Convolution(S.var('data'), num_filter=4, kernel=(3, 3), name=ODD)
    return S.FullyConnected(S.Activation(x, act_type='relu', name='a b'), num_hidden=3, name=f'{ODD} 2')


def two_heads():
    x = conv(conv(S.var('data'), 4, 'one'), 8, 'two')
    heads = [S.FullyConnected(x, num_hidden=n, name=name) for n, name in ((3, 'age'), (2, 'sex'))]
    return S.Group([*heads, S.BlockGrad(x, name='feature')])


def unet():
    x = conv(S.var('data'), 4, 'down1')
    y = conv(S.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type='max'), 8, 'down2')
    z = conv(S.Pooling(y, kernel=(2, 2), stride=(2, 2), pool_type='max'), 8, 'middle')
    y = conv(S.Concat(S.UpSampling(z, scale=2, sample_type='nearest'), y), 8, 'up2')
    x = conv(S.Concat(S.UpSampling(y, scale=2, sample_type='nearest'), x), 4, 'up1')
    return S.Convolution(x, num_filter=1, kernel=(1, 1), name='out')


def margin():
    """A classifier on normalised weights: an operator that reads a parameter alone."""
    weight = S.L2Normalization(S.var('fc7_weight', shape=(10, 8)), mode='instance')
    x = S.L2Normalization(S.FullyConnected(S.var('data'), num_hidden=8, name='fc1'), mode='instance')
    logits = S.FullyConnected(x, weight=weight, no_bias=True, num_hidden=10, name='fc7')
    return S.SoftmaxOutput(logits * 64, name='softmax')


def tangle(seed):
    """Return a network whose layers read the sum or the concatenation of any layers before them."""
    chance = random.Random(seed)
    layers = [S.Convolution(S.var('data'), num_filter=4, kernel=(1, 1), name='first')]
    for i in range(chance.randint(5, 14)):
        read = chance.sample(layers, min(len(layers), chance.randint(1, 4)))
        joined = S.add_n(*read) if chance.random() < 0.5 else S.Concat(*read, num_args=len(read))
        layers.append(S.Convolution(joined, num_filter=4, kernel=(1, 1), name=f'layer{i}'))
    return S.Group(layers[-2:])


HAND_WRITTEN = {
    'chain': (chain, IMAGE),
    'residual': (residual, IMAGE),
    'dense': (dense, IMAGE),
    'dense_from_all': (dense_from_all, IMAGE),
    'siamese': (siamese, {'left:image': (2, 3, 8, 8), 'right:image': (2, 3, 8, 8)}),
    'odd_names': (odd_names, IMAGE),
    **{f'tangle_{seed}': (partial(tangle, seed), IMAGE) for seed in range(6)},
    'two_heads': (two_heads, IMAGE),
    'unet': (unet, IMAGE),
    'margin': (margin, IMAGE),
    'input_alone': (lambda: S.var('data'), IMAGE),
}


def cycles(arrows):
    """Return the arrows (source, target) that are left when boxes without an arrow into them are taken away in turn."""
    while arrows:
        free = {source for source, _ in arrows} - {target for _, target in arrows}
        if not free:
            return arrows
        arrows = {(source, target) for source, target in arrows if source not in free}
    return arrows


# What other people's scripts save: with losses, labels, inputs and layers of any name.
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


def label_margin(label='softmax_label', top='fc1'):
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
    random, labels = np.random.RandomState(seed), label_names(describe(symbol)['nodes'])
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
