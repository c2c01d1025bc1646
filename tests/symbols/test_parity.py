"""Our networks against InsightFace's: the same parameters, and the same numbers for the same weights."""

from __future__ import annotations

from math import prod
from zlib import crc32

import numpy as np
import pytest

from config import resolve
from symbols import get_symbol

import mxnet as mx

FACE = (1, 3, 112, 112)

# InsightFace's GDC and SFC heads have 512 groups and 512 filters whatever the width of the map. On DenseNet-121's 1024
# channels they build by accident: two channels to a group, and the map narrows to 512. Ours are depthwise on all 1024,
# so what follows is wider as well. Parameters and auxiliary elements:
OURS = {
    ('d121', 'GDC'): (7261056 + 2 * 512 + 512 * 512, 85696 + 2 * 512),
    ('d121', 'SFC'): (
        11417984 + 4 * 512 + (1024 * 1025 - 512 * 513) + 512 * 512 * 4 * 4,
        88768 + 4 * 512,
    ),
}


def shapes_of(symbol, image=FACE):
    """Return the shapes of the parameters, of the auxiliary states, and of the outputs."""
    arguments, outputs, states = symbol.infer_shape(data=image)
    parameters = dict(zip(symbol.list_arguments(), arguments))
    del parameters['data']
    return parameters, dict(zip(symbol.list_auxiliary_states(), states)), outputs


def elements(shapes):
    return sum(prod(shape) for shape in shapes.values())


def batch_norms_with_fixed_gamma(symbol):
    # fix_gamma is what mxnet does when the attribute is missing
    return [
        name
        for name, attributes in symbol.attr_dict().items()
        if 'eps' in attributes and attributes.get('fix_gamma', 'True') == 'True'
    ]


def slopes_among(parameters, states):
    """Return the PReLU slopes: what ends in alpha, and the gammas of layers that have no moving statistics."""
    layers = {name.rsplit('_', 2)[0] for name in states}
    return [
        name
        for name in parameters
        if name.endswith('_alpha') or (name.endswith('_gamma') and name[: -len('_gamma')] not in layers)
    ]


def test_parameter_counts(count_row):
    row = count_row
    cfg = resolve(row['network'], net_output=row['head'], net_act=row['act'], emb_size=row['emb'])
    symbol = get_symbol(cfg)
    parameters, states, outputs = shapes_of(symbol)
    theirs = (row['params'], row['aux'])
    assert (elements(parameters), elements(states)) == OURS.get((row['network'], row['head']), theirs)
    assert sum(prod(parameters[name]) for name in slopes_among(parameters, states)) == row['prelu_slopes']
    fixed = [f'{name}_gamma' for name in batch_norms_with_fixed_gamma(symbol)]
    assert sum(prod(parameters[name]) for name in fixed) == row['fixed_gamma']
    assert [list(shape) for shape in outputs] == row['out']


@pytest.mark.parametrize(
    ('head', 'weight'), [('gdc_fc_bn', 'conv_6dw7_7_conv2d_weight'), ('sepconv_fc_bn', 'convf_weight')]
)
def test_heads_on_1024_channels_are_truly_depthwise(head, weight):
    parameters, _, _ = shapes_of(get_symbol(resolve('d121', net_output=head)))
    assert parameters[weight][:2] == (1024, 1)


def value_of(name, shape, slopes):
    """Return the values that tests/reference/README.md prescribes for a parameter."""
    rng = np.random.RandomState(crc32(name.encode()) & 0x7FFFFFFF)
    if name in slopes:
        values = rng.uniform(0.05, 0.45, shape)
    elif name.endswith('_weight'):
        values = rng.randn(*shape) * np.sqrt(2 / max(1, prod(shape[1:])))
    elif name.endswith('_gamma'):
        values = rng.uniform(0.6, 1.4, shape)
    else:
        values = rng.randn(*shape) * 0.1
    return mx.nd.array(values.astype(np.float32))


def assert_agree(ours, theirs):
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def assert_same_directions(ours, theirs):
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert (cosines > 1 - 1e-6).all()


def test_same_names_shapes_and_numbers(parity_row, reference):
    symbol = get_symbol(parity_row['config'])
    parameters, states, _ = shapes_of(symbol)
    assert parameters == {name: tuple(shape) for name, shape in parity_row['args']}
    assert states == {name: tuple(shape) for name, shape in parity_row['aux']}
    assert symbol.list_outputs() == parity_row['out']
    assert set(slopes_among(parameters, states)) == set(parity_row['prelu'])

    numbers = np.load(
        reference / 'insightface' / 'parity' / ('_'.join(map(str, parity_row['combo'])) + '.npz')
    )
    values = {name: value_of(name, shape, parity_row['prelu']) for name, shape in parameters.items()}
    stored = {name: mx.nd.array(numbers[f'A:{name}']) for name in states}
    images = np.random.RandomState(7).uniform(0, 255, (4, 3, 112, 112)).astype(np.float32)

    arguments = {**values, 'data': mx.nd.array(images)}
    inference = symbol.bind(mx.cpu(), arguments, grad_req='null', aux_states=stored)
    output = inference.forward(is_train=False)[0].asnumpy()
    assert list(output.shape) == parity_row['out_shape'][0]
    assert_agree(output, numbers['y'])
    assert_same_directions(output, numbers['y'])

    arguments['data'] = mx.nd.array(images[:2] * 0.6 + 20)
    gradients = {'data': mx.nd.zeros((2, 3, 112, 112))}  # enough for mxnet to run every layer's backward
    training = symbol.bind(mx.cpu(), arguments, gradients, grad_req={'data': 'write'}, aux_states=stored)
    training.forward(is_train=True)
    training.backward(mx.nd.ones((2, output.shape[1])))
    mx.nd.waitall()  # the statistics are written after backward() has returned
    after = {name: numbers[f'N:{name}'] for name in states if f'N:{name}' in numbers.files}
    assert len(states) - len(after) in (0, 2)  # fc1's two lie behind the Dropout
    for name, theirs in after.items():
        assert_agree(stored[name].asnumpy(), theirs)
