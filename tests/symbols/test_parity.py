"""Our networks against InsightFace's: the same parameters, and the same numbers for the same weights."""

from __future__ import annotations

import json
from functools import lru_cache
from math import prod
from zlib import crc32

import numpy as np
import pytest

from config import resolve
from config.presets import NETWORKS
from symbols import get_symbol

import mxnet as mx

FACE = (1, 3, 112, 112)
TOLERANCE = 1e-4  # of the largest value
# VarGFaceNet enlarges rounding: with the kernels of AVX-512 InsightFace's own symbol is 5e-4 off the numbers that it
# gave with those of AVX2.
ROUGHER = {'vargfacenet': 1e-3}


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
    own = {'net_output': row['head'], 'net_act': row['act'], 'emb_size': row['emb']}
    symbol = get_symbol({**NETWORKS[row['network']], **own, 'workspace': 256})  # which makes it InsightFace's
    parameters, states, outputs = shapes_of(symbol)
    assert (elements(parameters), elements(states)) == (row['params'], row['aux'])
    assert sum(prod(parameters[name]) for name in slopes_among(parameters, states)) == row['prelu_slopes']
    fixed = [f'{name}_gamma' for name in batch_norms_with_fixed_gamma(symbol)]
    assert sum(prod(parameters[name]) for name in fixed) == row['fixed_gamma']
    assert [list(shape) for shape in outputs] == row['out']


@pytest.mark.parametrize(
    ('preset', 'head', 'weight', 'count'),
    [
        ('d121', 'gdc_fc_bn', 'conv_6dw7_7_conv2d_weight', 7524343),
        ('d121', 'sepconv_fc_bn', 'convf_weight', 16403447),
        ('m1', 'gdc_fc_bn', 'conv_6dw7_7_conv2d_weight', 3533056),
    ],
)
def test_heads_on_1024_channels_are_truly_depthwise(preset, head, weight, count):
    """Where InsightFace has 512 groups of two channels, and 512 channels behind them."""
    parameters, _, _ = shapes_of(get_symbol(resolve(preset, net_output=head, head_channels=None)))
    assert parameters[weight][:2] == (1024, 1)
    assert elements(parameters) == count


@lru_cache(maxsize=1000)  # the rows of a network have most of their parameters in common
def value_of(name, shape, is_slope):
    """Return the values that tests/reference/README.md prescribes for a parameter."""
    rng = np.random.RandomState(crc32(name.encode()) & 0x7FFFFFFF)
    if is_slope:
        values = rng.uniform(0.05, 0.45, shape)
    elif name.endswith('_weight'):
        values = rng.randn(*shape) * np.sqrt(2 / max(1, prod(shape[1:])))
    elif name.endswith('_gamma'):
        values = rng.uniform(0.6, 1.4, shape)
    else:
        values = rng.randn(*shape) * 0.1
    return values.astype(np.float32)


def assert_agree(ours, theirs, tolerance=TOLERANCE):
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def assert_same_directions(ours, theirs):
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert (cosines > 1 - 1e-6).all()


def assert_same_parameters(symbol, row):
    parameters, states, _ = shapes_of(symbol)
    assert parameters == {name: tuple(shape) for name, shape in row['args']}
    assert states == {name: tuple(shape) for name, shape in row['aux']}
    assert symbol.list_outputs() == row['out']
    assert set(slopes_among(parameters, states)) == set(row['prelu'])


def run_of(symbol, row, numbers, images, **settings):
    """Return an executor of the symbol with the recipe's values, and the states that it will change."""
    slopes = {*row['prelu']}
    values = {name: mx.nd.array(value_of(name, tuple(shape), name in slopes)) for name, shape in row['args']}
    values['data'] = mx.nd.array(images)
    states = {name: mx.nd.array(numbers[f'A:{name}']) for name, _ in row['aux']}
    return symbol.bind(mx.cpu(), values, aux_states=states, **settings), states


def four_images():
    return np.random.RandomState(7).uniform(0, 255, (4, 3, 112, 112)).astype(np.float32)


def assert_same_output(symbol, row, numbers):
    """Compare the embeddings of four images."""
    inference, _ = run_of(symbol, row, numbers, four_images(), grad_req='null')
    output = inference.forward(is_train=False)[0].asnumpy()
    assert list(output.shape) == row['out_shape'][0]
    assert_agree(output, numbers['y'], ROUGHER.get(row['combo'][0], TOLERANCE))
    assert_same_directions(output, numbers['y'])


def assert_same_statistics(symbol, row, numbers):
    """Compare the batch norms' statistics after a step of training."""
    images = four_images()[:2] * 0.6 + 20
    gradients = {'data': mx.nd.zeros(images.shape)}  # enough for mxnet to run every layer's backward
    requests = {'args_grad': gradients, 'grad_req': {'data': 'write'}}
    training, states = run_of(symbol, row, numbers, images, **requests)
    (output,) = training.forward(is_train=True)
    training.backward(mx.nd.ones(output.shape))
    mx.nd.waitall()  # the statistics are written after backward() has returned
    after = {name: numbers[f'N:{name}'] for name in states if f'N:{name}' in numbers.files}
    assert len(states) - len(after) in (0, 2)  # fc1's two lie behind the Dropout
    for name, theirs in after.items():
        assert_agree(states[name].asnumpy(), theirs)


def numbers_of(row, reference):
    return np.load(reference / 'insightface' / 'parity' / ('_'.join(map(str, row['combo'])) + '.npz'))


def test_same_names_shapes_and_numbers(parity_row, reference):
    symbol, numbers = get_symbol(parity_row['config']), numbers_of(parity_row, reference)
    assert_same_parameters(symbol, parity_row)
    assert_same_output(symbol, parity_row, numbers)
    assert_same_statistics(symbol, parity_row, numbers)


# Mistakes, by what is altered in a network's graph.


def setting(node, **values):
    """Return a mistake: an operator's settings are others."""

    def make(nodes):
        settings = nodes[node]['attrs']
        for name, value in values.items():
            assert settings.get(name) != value
            settings[name] = value

    return make


def every_eps(value):
    """Return a mistake: the eps of all batch norms."""

    def make(nodes):
        for node in nodes.values():
            if node['op'] == 'BatchNorm':
                node['attrs']['eps'] = value

    return make


def early_stride(unit):
    """Return a mistake: a residual unit's first convolution has the stride of its second."""

    def make(nodes):
        first, second = (nodes[f'{unit}_conv{index}']['attrs'] for index in (1, 2))
        assert (first['stride'], second['stride']) == ('(1, 1)', '(2, 2)')
        first['stride'], second['stride'] = second['stride'], first['stride']

    return make


def reversed_inputs(node):
    """Return a mistake: the inputs of an operator in another order."""

    def make(nodes):
        nodes[node]['inputs'].reverse()

    return make


# The map is as large, but the windows start at its first pixel: TensorFlow's 'same'.
TF_SAME = {'pad': '(0, 0)', 'pooling_convention': 'full'}
MISTAKES = {
    'eps of one': ('y1', setting('res_4_block1_conv_proj_batchnorm', eps='0.002'), assert_same_output),
    'eps of one, ResNet': ('r18', setting('stage3_unit2_bn2', eps='0.001'), assert_same_output),
    "eps of all, PyTorch's": ('r18', every_eps('1e-05'), assert_same_output),
    'eps of all, VarGFaceNet': ('vargfacenet', every_eps('1e-05'), assert_same_output),
    'momentum of one': ('y1', setting('conv_6sep_batchnorm', momentum='0.99'), assert_same_statistics),
    'gamma not fixed': ('m05', setting('conv_8_batchnorm', fix_gamma='False'), assert_same_output),
    'stride place': ('r18', early_stride('stage2_unit1'), assert_same_output),
    'padding of a convolution': ('y1', setting('conv_1_conv2d', pad='(0, 0)'), assert_same_output),
    'padding of a pooling': ('d121', setting('densenet0_pool0_fwd', **TF_SAME), assert_same_output),
    'concat order': ('d121', reversed_inputs('densenet0_stage4_concat3'), assert_same_output),
    'mean of the pixels': ('y1', setting('data_centred', scalar='128.0'), assert_same_output),
    'scale of the pixels': ('y1', setting('data_scaled', scalar='0.00784313725'), assert_same_output),
}


SLOW_MISTAKES = ('eps of one, ResNet', 'padding of a pooling')


@pytest.mark.parametrize(
    'name', [pytest.param(m, marks=[pytest.mark.slow] if m in SLOW_MISTAKES else []) for m in MISTAKES]
)
def test_a_mistake_is_seen(name, reference):
    preset, make, compare = MISTAKES[name]
    rows = json.loads((reference / 'insightface' / 'parity' / 'index.json').read_text('utf-8'))
    row = next(row for row in rows if row['combo'][0] == preset)
    graph = json.loads(get_symbol(row['config']).tojson())
    make({node['name']: node for node in graph['nodes']})
    mistaken = mx.sym.load_json(json.dumps(graph))
    assert_same_parameters(mistaken, row)  # these do not tell
    with pytest.raises(AssertionError, match=r'assert .* <= '):
        compare(mistaken, row, numbers_of(row, reference))
