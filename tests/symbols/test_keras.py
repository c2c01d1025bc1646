"""Our networks against Keras's, and against those of articles on Keras: the same names, counts and numbers."""

from __future__ import annotations

import json
import re
from math import prod

import numpy as np
import pytest

from config import ConfigError, resolve
from recognition.checkpoint.matching import set_parameters
from recognition.optim import KernelL2
from symbols import dense, get_block, get_symbol, keras_resnet
from symbols.activations import Act
from symbols.keras_layers import KERAS_NAMES, keras_layers
from symbols.keras_resnet import conv_block, identity_block
from symbols.layers import Norm
from symbols.xception import middle_flow, res_block, sep_conv_block
from tests.helpers.keras_numbers import value_of

import mxnet as mx
from mxnet.gluon import nn

ROWS = {
    'densenet121_112': 'keras_densenet121',
    'resnet50_112': 'keras_resnet50',
    'resnet50_elu_seed_224': 'keras_resnet50_elu',
    'xception_112': 'keras_xception',
    'xception_seed_112': 'article_xception',
    'densenet_2132_max_64': 'keras_densenet121',
}
SETTINGS = {
    'densenet_2132_max_64': {'densenet_blocks': (2, 1, 3, 2), 'net_output': 'pool', 'net_pool': 'max'},
}
SOFTMAX = ('resnet50_elu_seed_224',)  # its last layer; ours ends with the logits

# What Keras calls a layer without a name of its own, less the number, and the layer's class.
AUTOMATIC = {
    'conv2d': 'Conv2D',
    'separable_conv2d': 'SeparableConv2D',
    'batch_normalization': 'BatchNormalization',
    'dense': 'Dense',
}
ENDINGS = {
    'kernel': '_weight',
    'depthwise_kernel': '_dw_weight',
    'pointwise_kernel': '_pw_weight',
    'bias': '_bias',
    'gamma': '_gamma',
    'beta': '_beta',
    'moving_mean': '_moving_mean',
    'moving_variance': '_moving_var',
}


def elements(symbol, cfg):
    """Return the numbers of values of the parameters and of the moving statistics."""
    height, width, channels = cfg.image_shape
    shapes, _, states = symbol.infer_shape(data=(1, channels, height, width))
    arguments = dict(zip(symbol.list_arguments(), shapes))
    del arguments['data']
    return sum(map(prod, arguments.values())), sum(map(prod, states))


@pytest.mark.parametrize(('depth', 'count'), [(101, 44707176), (152, 60419944)])
def test_counts_of_the_deeper_resnets(depth, count):
    """As the summaries of keras.applications' ResNet101 and ResNet152 have them."""
    cfg = resolve('keras_resnet50', num_layers=depth)
    assert sum(elements(get_symbol(cfg), cfg)) == count


def in_our_layout(weight, value):
    """Return a weight with its output channels first; Keras has them last, a depthwise kernel its inputs third."""
    axes = (2, 3, 0, 1) if weight == 'depthwise_kernel' else (3, 2, 0, 1)
    return value.transpose(axes) if value.ndim == 4 else value.T


def our_layers(row, cfg):
    """Return the name of our layer for each layer of Keras's that has weights."""
    layers = list(dict.fromkeys(key.split('|')[0] for key, _ in row['weights']))
    names = {layer: layer for layer in layers}
    names.update({theirs: ours for ours, theirs in KERAS_NAMES.items() if theirs in names})
    table = keras_layers(cfg)
    for name, keras_class in AUTOMATIC.items():
        numbered = {}
        for layer in layers:
            match = re.fullmatch(rf'{name}_(\d+)', layer)
            if match:
                numbered[int(match[1])] = layer
        ours = table.get(keras_class, [])
        assert len(ours) == len(numbered)
        names.update({numbered[number]: layer for number, layer in zip(sorted(numbered), ours)})
    return names


class Case:
    """A row of the reference, with the config of our network and Keras's weights under our names."""

    def __init__(self, folder, tag):
        self.tag = tag
        self.row = json.loads((folder / f'{tag}.json').read_text('utf-8'))
        self.numbers = np.load(folder / f'{tag}.npz')
        _, self.side, _, _ = self.row['input']
        names = our_layers(self.row, self.config())
        self.values = {}
        for key, shape in self.row['weights']:
            layer, weight = key.split('|')
            value = in_our_layout(weight, value_of(key, shape, self.numbers))
            self.values[names[layer] + ENDINGS[weight]] = mx.nd.array(value)

    def config(self, **overrides):
        settings = {**SETTINGS.get(self.tag, {}), **overrides}
        return resolve(ROWS[self.tag], image_shape=(self.side, self.side, 3), **settings)

    def error(self, **overrides):
        """Return how far our output is from Keras's, as a share of its largest value."""
        symbol = get_symbol(self.config(**overrides))
        images = np.random.RandomState(5).randn(4, self.side, self.side, 3).astype(np.float32)[:2]
        arguments = {n: self.values[n] for n in symbol.list_arguments() if n != 'data'}
        arguments['data'] = mx.nd.array(images.transpose(0, 3, 1, 2))
        states = {name: self.values[name] for name in symbol.list_auxiliary_states()}
        (output,) = symbol.bind(mx.cpu(), arguments, grad_req='null', aux_states=states).forward()
        if self.tag in SOFTMAX:
            output = mx.nd.softmax(output)
        theirs = self.numbers['y']
        assert output.shape == theirs.shape
        return np.abs(output.asnumpy() - theirs).max() / np.abs(theirs).max()


@pytest.fixture(scope='module')
def case(reference):
    """Return a function: tag -> Case, made once."""
    made = {}

    def get(tag):
        if tag not in made:
            made[tag] = Case(reference / 'keras', tag)
        return made[tag]

    return get


@pytest.mark.parametrize('tag', ROWS)
def test_same_names_shapes_and_numbers(tag, case):
    row = case(tag)
    cfg = row.config()
    symbol = get_symbol(cfg)
    shapes, _, states = symbol.infer_shape(data=(1, 3, row.side, row.side))
    ours = dict(zip(symbol.list_arguments(), shapes))
    del ours['data']
    ours.update(zip(symbol.list_auxiliary_states(), states))
    assert ours == {name: value.shape for name, value in row.values.items()}
    assert sum(elements(symbol, cfg)) == row.row['params']
    assert row.error() <= 1e-4


@pytest.mark.parametrize(
    ('tag', 'settings', 'least'),
    [
        ('xception_112', {'padding': 'symmetric'}, 0.3),
        ('xception_seed_112', {'padding': 'symmetric'}, 0.1),
        ('xception_112', {'bn_eps': 1.001e-5}, 1e-2),
        ('xception_seed_112', {'bn_eps': 1.001e-5}, 2e-3),
        ('densenet121_112', {'bn_eps': 2e-5}, 5e-4),
        ('resnet50_112', {'bn_eps': 2e-5}, 5e-4),
        ('resnet50_112', {'net_variant': 'article', 'bn_eps': 1.001e-5}, 0.3),
        ('resnet50_elu_seed_224', {'bn_eps': 1.001e-5}, 5e-3),
        ('resnet50_elu_seed_224', {'net_variant': None, 'bn_eps': 1e-3}, 0.3),
        ('resnet50_elu_seed_224', {'net_act': 'relu'}, 0.3),
        ('densenet_2132_max_64', {'net_pool': 'avg'}, 0.1),
        ('densenet121_112', {'input_mean': 0.01}, 0.1),
        ('densenet121_112', {'input_scale': 1.001}, 1e-2),
    ],
)
def test_a_wrong_setting_is_caught(tag, settings, least, case):
    """Padding, eps, the stem's pooling, activation and pixels, each a little wrong."""
    assert case(tag).error(**settings) > least


def test_the_penalty_of_the_article_s_resnet_is_keras_s(case):
    """Its ELU network has kernel_regularizer on every Conv2D, and none on the Dense layer."""
    row = case('resnet50_elu_seed_224')
    net = get_block(row.config())
    set_parameters(net, row.values)
    penalty, dense = row.row['penalty'], 1e-4 * float((row.values['fc1_weight'] ** 2).sum().asscalar())
    assert KernelL2(net, 1e-4)().asscalar() == pytest.approx(penalty, rel=1e-5)
    with_dense = KernelL2(net, 1e-4, factors={'fc1_': 1e-4})().asscalar()
    assert with_dense == pytest.approx(penalty + dense, rel=1e-5)
    assert dense > 0.1


def test_a_wrong_order_of_concatenation_is_caught(case, monkeypatch):
    def forward(self, F, x):
        return F.concat(self.branch(x), x, dim=1, name=self._node)

    monkeypatch.setattr(dense.Append, 'hybrid_forward', forward)
    assert case('densenet121_112').error() > 0.1


def test_a_stride_in_the_wrong_place_is_caught(case, monkeypatch):
    late = {'1_conv': False, '2_conv': True}
    branch = tuple(
        step._replace(strided=late[step.name]) if step.name in late else step
        for step in keras_resnet.UNIT.branch
    )
    monkeypatch.setattr(keras_resnet, 'UNIT', keras_resnet.UNIT._replace(branch=branch))
    assert case('resnet50_112').error() > 0.1


def test_a_shortcut_taken_for_the_third_convolution_is_caught(case):
    """The two have the same shape, so that only Keras's numbers tell them apart."""
    row = case('resnet50_elu_seed_224')
    right = dict(row.values)
    first, second = 'conv2_block1_0_conv_weight', 'conv2_block1_3_conv_weight'
    assert right[first].shape == right[second].shape
    try:
        row.values.update({first: right[second], second: right[first]})
        assert row.error() > 1e-2
    finally:
        row.values.update(right)


def test_blocks_give_keras_numbers(reference):
    """Of the articles' units with a 5x5 in the middle, an ELU and eps 1e-3, and their separable blocks, in a row."""
    row = json.loads((reference / 'keras' / 'blocks.json').read_text('utf-8'))
    numbers = np.load(reference / 'keras' / 'blocks.npz')
    kind = {'norm': Norm(eps=1e-3), 'act': Act('elu')}
    net = nn.HybridSequential(prefix='')
    net.add(
        conv_block(6, 5, (4, 5, 12), 3, 'a', strides=(2, 2), **kind),
        identity_block(12, 5, (4, 5, 12), 3, 'b', **kind),
        res_block(12, 16, 'res'),
        middle_flow(16, 16, 'middle', repeats=2),
        sep_conv_block(16, 20, (5, 3), 'sepconv'),
    )
    values = {}
    for key, shape in row['weights']:
        layer, weight = key.split('|')
        values[layer + ENDINGS[weight]] = mx.nd.array(in_our_layout(weight, value_of(key, shape, numbers)))
    assert {name: parameter.shape for name, parameter in net.collect_params().items()} == {
        name: value.shape for name, value in values.items()
    }
    net.initialize()
    for name, parameter in net.collect_params().items():
        parameter.set_data(values[name])
    images = np.random.RandomState(5).randn(4, *row['input'][1:]).astype(np.float32)[:2]
    y = net(mx.nd.array(images.transpose(0, 3, 1, 2))).asnumpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(y, numbers['y'], atol=1e-5 * np.abs(numbers['y']).max())


def test_xception_s_blocks_without_a_name_get_one():
    net = nn.HybridSequential(prefix='')
    blocks = [block(8, 8) for block in (sep_conv_block, res_block, middle_flow) for _ in range(2)]
    net.add(*blocks)
    net.initialize()
    assert net(mx.nd.zeros((1, 8, 8, 8))).shape == (1, 8, 2, 2)
    assert [*net.collect_params()] == [name for block in blocks for name in block.collect_params()]


@pytest.mark.parametrize(
    ('build', 'words'),
    [
        (
            lambda: conv_block(6, 4, (4, 5, 12), 3, 'a'),
            r'kernel_size=4 and filters=\(4, 5, 12\) must be an odd',
        ),
        (lambda: conv_block(6, 3, (4, 12), 3, 'a'), 'an odd number and three numbers'),
        (
            lambda: identity_block(6, 3, (4, 5, 12), 3, 'a'),
            'must end in in_channels=6; conv_block changes the channels',
        ),
        (lambda: middle_flow(6, 8), 'filters=8 must equal in_channels=6'),
    ],
)
def test_blocks_whose_numbers_do_not_fit_are_refused(build, words):
    with pytest.raises(ConfigError, match=words):
        build()
