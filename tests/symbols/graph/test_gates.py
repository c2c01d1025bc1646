"""What a picture says of products: squeeze-excite where it is that, and else what there is."""

from __future__ import annotations

import pytest

from symbols.graph.builder import build_graph
from tests.helpers.hand_written import S, conv

IMAGE = {'data': (1, 3, 16, 16)}


def squeeze(x, gate, pool=None, last=lambda v: v):
    pooled = pool(x) if pool else S.Pooling(x, global_pool=True, kernel=(1, 1), pool_type='avg')
    v = S.Convolution(pooled, num_filter=2, kernel=(1, 1), name='down')
    v = S.Convolution(S.relu(v), num_filter=8, kernel=(1, 1), name='up')
    return S.broadcast_mul(x, last(gate(v)))


def sigmoid(v):
    return S.Activation(v, act_type='sigmoid')


def cbam(x):
    ways = [S.Pooling(x, global_pool=True, kernel=(1, 1), pool_type=kind) for kind in ('avg', 'max')]
    dense = [S.Convolution(way, num_filter=8, kernel=(1, 1), name=f'way{i}') for i, way in enumerate(ways)]
    return S.broadcast_mul(x, sigmoid(dense[0] + dense[1]))


GATES = {
    'sigmoid': lambda x: squeeze(x, sigmoid),
    'hard sigmoid': lambda x: squeeze(x, S.hard_sigmoid),
    'clipped': lambda x: squeeze(x, lambda v: S.clip(v + 3, 0, 6) / 6),
    'mean': lambda x: squeeze(x, sigmoid, lambda x: S.mean(x, axis=(2, 3), keepdims=True)),
    'adaptive': lambda x: squeeze(x, sigmoid, lambda x: S.contrib.AdaptiveAvgPooling2D(x, output_size=1)),
    'whole window': lambda x: squeeze(x, sigmoid, lambda x: S.Pooling(x, kernel=(16, 16), pool_type='avg')),
    'spread out': lambda x: squeeze(x, sigmoid, last=lambda v: S.broadcast_like(v, x)),
    'two poolings': cbam,
}
OTHER = {
    'no gate': lambda x: squeeze(x, S.relu),
    'tanh': lambda x: squeeze(x, S.tanh),
    'clipped on both sides of 0': lambda x: squeeze(x, lambda v: S.clip(v, -5, 5)),
    'the maximum': lambda x: squeeze(
        x, sigmoid, lambda x: S.Pooling(x, global_pool=True, kernel=(1, 1), pool_type='max')
    ),
    'of the pixels': lambda x: (
        x * sigmoid(conv(S.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type='avg'), 8, 'attend'))
    ),
    'of another map': lambda x: S.broadcast_mul(
        conv(x, 8, 'one'),
        sigmoid(S.Pooling(conv(x, 8, 'two'), global_pool=True, kernel=(1, 1), pool_type='avg')),
    ),
}


def words(top):
    """Return the words of the picture of a residual unit whose branch ends in `top`."""
    x = conv(S.var('data'), 8, 'stem')
    symbol = S.FullyConnected(x + top(conv(x, 8, 'branch')), num_hidden=3, name='fc1')
    return ' | '.join(' '.join((box.title, *box.lines)) for box in build_graph(symbol, IMAGE).boxes)


@pytest.mark.parametrize('name', GATES)
def test_a_gate_of_the_global_average_is_squeeze_excite(name):
    assert 'squeeze-excite' in words(GATES[name])


@pytest.mark.parametrize('name', OTHER)
def test_another_product_is_what_it_is(name):
    found = words(OTHER[name])
    assert 'squeeze-excite' not in found
    assert 'multiply' in found


def level(x, act, pool, name):
    x = S.BatchNorm(
        S.Convolution(x, num_filter=8, kernel=(3, 3), pad=(1, 1), name=f'{name}_conv'), name=f'{name}_bn'
    )
    return S.Pooling(S.Activation(x, act_type=act), kernel=(2, 2), stride=(2, 2), pool_type=pool)


def streams():
    """SSR-Net's two streams, which are multiplied (Yang et al. 2018), and a third that is added."""
    x = S.var('data')
    both = level(x, 'relu', 'avg', 'a') * level(x, 'tanh', 'max', 'b')
    one = S.FullyConnected(S.Flatten(both), num_hidden=6, name='one')
    other = S.FullyConnected(
        S.Convolution(x, num_filter=4, kernel=(3, 3), name='c'), num_hidden=6, name='other'
    )
    return S.FullyConnected(one + other, num_hidden=3, name='fc1')


def test_streams_that_are_multiplied_are_two_branches():
    boxes = {box.title: box for box in build_graph(streams(), IMAGE).boxes}
    assert ' '.join(boxes['a'].lines) == 'Conv 3×3, 8 → BatchNorm → ReLU → average pool 2×2 stride 2'
    assert ' '.join(boxes['b'].lines) == 'Conv 3×3, 8 → BatchNorm → tanh → max pool 2×2 stride 2'
    assert boxes['multiply'].kind == 'join'


def test_branches_within_one_box_are_beside_each_other():
    x = S.var('data')
    one, two = level(x, 'relu', 'avg', 'a'), level(x, 'tanh', 'max', 'b')
    tangled = S.FullyConnected(S.Flatten(one * two), num_hidden=8, name='all')
    more = S.FullyConnected(S.Flatten(one), num_hidden=8, name='some') + tangled
    symbol = S.FullyConnected(
        S.Concat(more, S.FullyConnected(S.Flatten(two), num_hidden=8, name='rest')), num_hidden=3
    )
    lines = [line for box in build_graph(symbol, IMAGE).boxes for line in box.lines]
    start = lines.index('Conv 3×3, 8 → BatchNorm → ReLU →')
    assert lines[start + 2].startswith('beside: Conv 3×3, 8')
    assert not lines[start + 1].endswith('→')
    assert 'multiply' in lines


def attended(x):
    return S.broadcast_mul(x, sigmoid(S.Convolution(x, num_filter=1, kernel=(1, 1), name='attend')))


def two_dense(x):
    ways = [S.Convolution(x, num_filter=4, kernel=(3, 3), stride=(i, i), name=f'way{i}') for i in (2, 4)]
    return [S.FullyConnected(way, num_hidden=6, name=f'top{i}') for i, way in enumerate(ways)]


@pytest.mark.parametrize('ways', [lambda x: (squeeze(x, sigmoid), attended(x)), two_dense])
def test_a_sum_of_two_gates_or_of_two_dense_layers_has_no_shortcut(ways):
    one, other = ways(conv(S.var('data'), 8, 'stem'))
    graph = build_graph(S.FullyConnected(one + other, num_hidden=3, name='fc1'), IMAGE)
    titles = [box.title for box in graph.boxes]
    assert not [title for title in titles if 'shortcut' in title or 'residual' in title]
    assert [title for title in titles if 'parallel block' in title]
