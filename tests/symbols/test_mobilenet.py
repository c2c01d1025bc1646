"""What is special to the MobileNets."""

from __future__ import annotations

import pytest

from config import resolve
from symbols import get_symbol

import mxnet as mx

FACE = (1, 3, 112, 112)
CHANNELS = [64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]  # of conv_2 to conv_14


def small(**overrides):
    return resolve('m1', **{'net_multiplier': 0.125, 'emb_size': 16, **overrides})


def strides(symbol):
    return {
        name[: -len('_conv2d')]: attributes['stride']
        for name, attributes in symbol.attr_dict().items()
        if name.endswith('_conv2d') and name.startswith('conv_')
    }


def test_shapes_of_the_layers(internal_shapes):
    shapes = internal_shapes(get_symbol(resolve('m1', net_output='bn_dropout')))
    assert shapes['conv_1_relu_output'] == (1, 32, 112, 112)
    sides = [112, 56, 56, 28, 28, *[14] * 6, 7, 7]
    width = 32
    for index, (channels, side) in enumerate(zip(CHANNELS, sides), start=2):
        assert shapes[f'conv_{index}_dw_relu_output'] == (1, width, side, side)
        assert shapes[f'conv_{index}_relu_output'] == (1, channels, side, side)
        width = channels
    assert shapes['dropout0_output'] == (1, 1024, 7, 7)


def test_names_of_the_parameters():
    symbol = get_symbol(small())
    layer = ['conv2d_weight', 'batchnorm_gamma', 'batchnorm_beta', 'relu_gamma']
    parts = ['conv_1', *(f'conv_{k}{dw}' for k in range(2, 15) for dw in ('_dw', ''))]
    body = [f'{part}_{name}' for part in parts for name in layer]
    assert symbol.list_arguments() == [
        'data',
        *body,
        *('conv_6dw7_7_conv2d_weight', 'conv_6dw7_7_batchnorm_gamma', 'conv_6dw7_7_batchnorm_beta'),
        *('pre_fc1_weight', 'pre_fc1_bias', 'fc1_gamma', 'fc1_beta'),
    ]


def test_every_other_convolution_is_depthwise(internal_shapes):
    attributes = get_symbol(small()).attr_dict()
    parameters = internal_shapes(get_symbol(small()))
    for index in range(2, 15):
        depthwise = parameters[f'conv_{index}_dw_conv2d_weight']
        assert depthwise[1:] == (1, 3, 3)
        assert int(attributes[f'conv_{index}_dw_conv2d']['num_group']) == depthwise[0]
        assert parameters[f'conv_{index}_conv2d_weight'][1:] == (depthwise[0], 1, 1)


@pytest.mark.parametrize(
    ('net_input', 'stride', 'side'), [(0, '(2, 2)', 4), (1, '(1, 1)', 7), (2, '(1, 1)', 7)]
)
def test_net_input_0_alone_halves_the_size_at_once(net_input, stride, side):
    symbol = get_symbol(small(net_input=net_input, net_output='bn_dropout'))
    found = strides(symbol)
    assert found['conv_1'] == stride
    halving = {name for name, value in found.items() if value == '(2, 2)' and name != 'conv_1'}
    assert halving == {'conv_3_dw', 'conv_5_dw', 'conv_7_dw', 'conv_13_dw'}
    assert symbol.infer_shape(data=FACE)[1] == [(1, 128, side, side)]


def test_settings_of_the_batch_norms():
    """The gammas of the body are fixed, and those of the head but for the last are not."""
    attributes = get_symbol(small(bn_mom=0.7)).attr_dict()
    norms = {name: a for name, a in attributes.items() if 'eps' in a}
    body = {name for name in norms if name.startswith('conv_') and not name.startswith('conv_6dw7_7')}
    assert len(body) == 27
    assert {float(norms[name]['eps']) for name in body} == {1e-3}
    assert {float(a['momentum']) for a in norms.values()} == {0.7}
    fixed = {name for name, a in norms.items() if a['fix_gamma'] == 'True'}
    assert fixed == {*body, 'fc1'}


@pytest.mark.parametrize('multiplier', [0.125, 0.3, 0.5, 1.0, 2.0])
def test_all_widths_are_whole_multiples_of_the_first(multiplier, internal_shapes):
    """As in InsightFace: 0.3 makes 9 channels of 32, and 18 of 64, which rounding each would make 19."""
    shapes = internal_shapes(get_symbol(small(net_multiplier=multiplier, net_output='bn_dropout')))
    stem = int(32 * multiplier)
    assert shapes['conv_1_conv2d_weight'] == (stem, 3, 3, 3)
    found = [shapes[f'conv_{index}_conv2d_weight'][0] for index in range(2, 15)]
    assert found == [channels // 32 * stem for channels in CHANNELS]


@pytest.mark.parametrize(('size', 'left'), [((15, 15), (1, 1)), ((33, 97), (3, 7)), ((112, 96), (7, 6))])
def test_odd_sizes_are_rounded_up(size, left):
    symbol = get_symbol(small(image_shape=(*size, 3), net_output='bn_dropout'))
    assert symbol.infer_shape(data=(2, 3, *size))[1] == [(2, 128, *left)]


def test_fixed_gammas_are_ignored(make_network, make_images):
    cfg = small(net_output='fc', image_shape=(32, 32, 3), bn_mom=0)
    net, images = make_network(cfg), make_images((32, 32, 3))
    before = net(images).asnumpy()
    gammas = [p for name, p in net.collect_params().items() if name.endswith('batchnorm_gamma')]
    for gamma in gammas:
        gamma.set_data(mx.nd.full(gamma.shape, 7))
    assert len(gammas) == 27
    assert (net(images).asnumpy() == before).all()
