"""Networks of others in ONNX: those of MXNet's own zoo, and the heads of face detectors."""

from __future__ import annotations

import pytest

from recognition.export.onnx.converter import RULES
from symbols.ir.rewriter import describe
from tests.helpers.onnx_numbers import S, assert_same, data

import mxnet as mx
from mxnet.gluon.model_zoo.vision import get_model

DEPTHS = ((18, 34, 50, 101, 152), (11, 13, 16, 19), (121, 161, 169, 201), ('1.0', '0.75', '0.5', '0.25'))
ZOO = (
    *(f'resnet{depth}_v{version}' for depth in DEPTHS[0] for version in (1, 2)),
    *(f'vgg{depth}{norm}' for depth in DEPTHS[1] for norm in ('', '_bn')),
    *(f'densenet{depth}' for depth in DEPTHS[2]),
    *(f'{name}{width}' for width in DEPTHS[3] for name in ('mobilenet', 'mobilenetv2_')),
    *('alexnet', 'squeezenet1.0', 'squeezenet1.1', 'inceptionv3'),
)


@pytest.mark.slow
def test_there_is_a_rule_for_whatever_mxnets_networks_are_made_of():
    assert len(ZOO) == 34
    for name in ZOO:
        used = {node['op'] for node in describe(get_model(name)(data()))['nodes']}
        assert used - {'null'} <= set(RULES), name


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', ['resnet18_v2', 'densenet121', 'squeezenet1.1', 'mobilenetv2_0.25', 'inceptionv3']
)
def test_mxnets_networks_give_its_numbers(name):
    size = 299 if name == 'inceptionv3' else 224
    net = get_model(name, classes=10)
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, size, size)))
    values = {each.name: each.data().asnumpy() for each in net.collect_params().values()}
    assert_same(net(data()), (size, size, 3), values=values, limit=1e-4)


def conv(x, filters, name, stride=1):
    return S.Convolution(
        x, num_filter=filters, kernel=(3, 3), pad=(1, 1), stride=(stride,) * 2, name=f'{name}_conv'
    )


def retinaface():
    """Two maps of a pyramid, joined in the finer one; probabilities of two classes for each of two anchors."""
    fine = conv(data(), 8, 'fine', 2)
    wide = S.UpSampling(conv(fine, 8, 'coarse', 2), scale=2, sample_type='nearest')
    joined = S.concat(S.relu(fine + S.Crop(wide, fine)), fine, dim=1)
    scores = S.Reshape(conv(joined, 4, 'scores'), shape=(0, 2, -1, 0))
    return S.Reshape(S.SoftmaxActivation(scores, mode='channel'), shape=(0, 4, -1, 0))


def ssd():
    """Scores of anchors of two maps, the first normalised and scaled for each channel; and the anchors themselves."""
    first = conv(data(), 8, 'first', 2)
    scale = S.var('scale', shape=(1, 8, 1, 1))
    maps = (S.broadcast_mul(scale, S.L2Normalization(first, mode='channel')), conv(first, 8, 'second', 2))
    scores = [S.Flatten(S.transpose(conv(x, 6, f'at{i}'), axes=(0, 2, 3, 1))) for i, x in enumerate(maps)]
    probabilities = S.softmax(S.Reshape(S.Concat(*scores, dim=1), shape=(0, -1, 3)), axis=2)
    anchors = [S.contrib.MultiBoxPrior(x, sizes=(0.2, 0.3), clip=True) for x in maps]
    boxes = S.slice_axis(S.Concat(*anchors, dim=1), axis=2, begin=0, end=3)
    return S.broadcast_add(probabilities, boxes)


def soft_stagewise_regression():
    """An age as the sum of shares times their stages, as SSR-Net has it (Yang et al. 2018, equation 4)."""
    shares = S.softmax(S.FullyConnected(S.Flatten(data()), num_hidden=3, name='shares'))
    moved = S.FullyConnected(S.Flatten(data()), num_hidden=3, name='moved')
    stages = S.broadcast_add(S.tanh(moved), S.Reshape(S.arange(3), shape=(1, 3)))
    widened = 1 + S.tanh(S.FullyConnected(S.Flatten(data()), num_hidden=1, name='wide'))
    return S.broadcast_div(S.sum(shares * stages, axis=1, keepdims=True), 3 * widened + 0.1)


def mobilenet_v3():
    """A block with hard swish and a gate of hard sigmoid (Howard et al. 2019, section 5)."""
    x = conv(data(), 8, 'first', 2)
    x = x * S.clip(x + 3, a_min=0, a_max=6) / 6
    gate = S.FullyConnected(S.contrib.AdaptiveAvgPooling2D(x, output_size=1), num_hidden=8, name='gate')
    return S.broadcast_mul(x, S.Reshape(S.hard_sigmoid(gate, alpha=1 / 6), shape=(0, 8, 1, 1)))


def residual_yolo():
    """A map whose pixels become channels beside a coarser one, and the upsampled centre of a heat map."""
    fine = conv(data(), 4, 'fine')
    stacked = S.concat(S.space_to_depth(fine, block_size=2), conv(fine, 8, 'coarse', 2), dim=1)
    heat = S.Deconvolution(stacked, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=2, name='up')
    return S.where(
        S.broadcast_greater(heat, S.mean(heat, axis=1, keepdims=True)), S.sigmoid(heat), S.zeros_like(heat)
    )


@pytest.mark.parametrize('build', [retinaface, ssd, soft_stagewise_regression, mobilenet_v3, residual_yolo])
def test_heads_of_detectors_give_mxnets_numbers(build):
    assert_same(build(), (32, 32, 3), spread=1.0, limit=1e-4)
