"""What is special to the MobileFaceNets."""

from __future__ import annotations

import re

import pytest

from config import ConfigError, resolve
from symbols import get_symbol

import mxnet as mx


def small(**overrides):
    return resolve('y1', **{'net_multiplier': 0.125, 'emb_size': 16, **overrides})


def layer(name, *, linear=False):
    parts = ['conv2d_weight', 'batchnorm_gamma', 'batchnorm_beta', *([] if linear else ['relu_gamma'])]
    return [f'{name}_{part}' for part in parts]


def bottleneck(name):
    return [*layer(f'{name}_conv_sep'), *layer(f'{name}_conv_dw'), *layer(f'{name}_conv_proj', linear=True)]


@pytest.mark.parametrize('preset', ['y1', 'y2'])
def test_shapes_of_the_stages(preset, internal_shapes):
    cfg = resolve(preset, net_output='bn_dropout')
    shapes = internal_shapes(get_symbol(cfg))
    assert shapes['conv_1_relu_output'] == (1, 64, 56, 56)
    halvings = [shapes[f'dconv_{name}_conv_proj_batchnorm_output'] for name in ('23', '34', '45')]
    assert halvings == [(1, 64, 28, 28), (1, 128, 14, 14), (1, 128, 7, 7)]
    lasts = [shapes[f'res_{s}_block{cfg.net_blocks[s - 2] - 1}_plus_output'] for s in (3, 4, 5)]
    assert lasts == halvings
    assert shapes['dropout0_output'] == (1, 512, 7, 7)


def test_widths_inside_the_bottlenecks(internal_shapes):
    shapes = internal_shapes(get_symbol(resolve('y2')))
    inner = {
        'res_2_block0': 64,
        'dconv_23': 128,
        'res_3_block7': 128,
        'dconv_34': 256,
        'res_4_block15': 256,
        'dconv_45': 512,
        'res_5_block3': 256,
    }
    for name, width in inner.items():
        assert shapes[f'{name}_conv_dw_conv2d_weight'] == (width, 1, 3, 3)  # depthwise


def test_the_widths_of_arcface_torch(internal_shapes):
    """The multiplier widens what the stages pass on alone; the first depthwise layer has 64 groups."""
    shapes = internal_shapes(get_symbol(resolve('mbf')))
    assert shapes['conv_2_dw_conv2d_weight'] == (128, 2, 3, 3)
    assert shapes['dconv_45_conv_dw_conv2d_weight'] == (512, 1, 3, 3)
    assert shapes['res_4_block5_conv_proj_conv2d_weight'] == (256, 256, 1, 1)
    assert shapes['conv_6sep_conv2d_weight'] == (512, 256, 1, 1)
    large = internal_shapes(get_symbol(resolve('mbf_large')))
    assert large['res_2_block1_conv_dw_conv2d_weight'] == (128, 1, 3, 3)


@pytest.mark.parametrize('blocks', [(1, 1, 1, 1), (1, 4, 6, 2), (2, 8, 16, 4), (3, 2, 1, 2)])
def test_net_blocks_are_the_residuals_of_each_stage(blocks, internal_shapes):
    shapes = internal_shapes(get_symbol(small(net_blocks=blocks)))
    sums = [name for name in shapes if name.endswith('_plus_output')]
    expected = {
        f'res_{stage}_block{index}_plus_output'
        for stage, count in enumerate(blocks, start=2)
        for index in range(count)
        if (stage, count) != (2, 1)
    }
    assert set(sums) == expected
    assert len(sums) == len(expected)


def test_a_single_block_in_the_first_stage_is_a_depthwise_convolution():
    one, two = (get_symbol(small(net_blocks=(n, 1, 1, 1))).list_arguments() for n in (1, 2))
    assert [name for name in one if '_2_' in name] == layer('conv_2_dw')
    assert [name for name in two if '_2_' in name] == [
        *bottleneck('res_2_block0'),
        *bottleneck('res_2_block1'),
    ]


def test_names_of_the_parameters():
    head = ['conv_6dw7_7_conv2d_weight', 'conv_6dw7_7_batchnorm_gamma', 'conv_6dw7_7_batchnorm_beta']
    assert get_symbol(small(net_blocks=(1, 1, 2, 1))).list_arguments() == [
        'data',
        *layer('conv_1'),
        *layer('conv_2_dw'),
        *bottleneck('dconv_23'),
        *bottleneck('res_3_block0'),
        *bottleneck('dconv_34'),
        *bottleneck('res_4_block0'),
        *bottleneck('res_4_block1'),
        *bottleneck('dconv_45'),
        *bottleneck('res_5_block0'),
        *layer('conv_6sep'),
        *head,
        *('pre_fc1_weight', 'pre_fc1_bias', 'fc1_gamma', 'fc1_beta'),
    ]


def test_the_strides():
    attributes = get_symbol(small(net_output='bn_dropout')).attr_dict()
    halving = {name for name, a in attributes.items() if a.get('stride') == '(2, 2)'}
    assert halving == {'conv_1_conv2d', *(f'dconv_{name}_conv_dw_conv2d' for name in ('23', '34', '45'))}


@pytest.mark.parametrize('blocks', [(4,), (1, 4, 6), (1, 4, 6, 2, 1)])
def test_other_than_four_numbers_of_blocks_are_refused(blocks):
    message = f"net_blocks={blocks!r} does not go with net_name='fmobilefacenet', which takes 4 numbers"
    with pytest.raises(ConfigError, match=re.escape(message)):
        get_symbol(small(net_blocks=blocks))


def test_settings_of_the_batch_norms():
    attributes = get_symbol(small(bn_mom=0.7)).attr_dict()
    norms = {name: a for name, a in attributes.items() if 'eps' in a}
    assert {float(a['eps']) for name, a in norms.items() if name != 'fc1'} == {1e-3}
    assert {float(a['momentum']) for a in norms.values()} == {0.7}
    assert {name for name, a in norms.items() if a['fix_gamma'] == 'True'} == {'fc1'}


def test_the_multiplier_scales_every_width(internal_shapes):
    shapes = internal_shapes(get_symbol(small(net_output='bn_dropout')))
    names = (
        'conv_1',
        'conv_2_dw',
        'dconv_34_conv_sep',
        'dconv_45_conv_dw',
        'res_4_block5_conv_proj',
        'conv_6sep',
    )
    assert [shapes[f'{name}_conv2d_weight'][0] for name in names] == [8, 8, 32, 64, 16, 64]


@pytest.mark.parametrize(('size', 'left'), [((1, 1), (1, 1)), ((33, 97), (3, 7)), ((112, 96), (7, 6))])
def test_odd_sizes_are_rounded_up(size, left):
    symbol = get_symbol(small(image_shape=(*size, 3), net_output='bn_dropout'))
    assert symbol.infer_shape(data=(2, 3, *size))[1] == [(2, 64, *left)]


def test_a_residual_adds_its_branch_to_its_input(make_network, make_images):
    """With a branch's last batch norm at 0 the residual passes its input on."""
    cfg = small(net_output='fc', bn_mom=0)
    net = make_network(cfg)
    (gamma,) = net.collect_params('res_4_block3_conv_proj_batchnorm_gamma').values()
    (beta,) = net.collect_params('res_4_block3_conv_proj_batchnorm_beta').values()
    for parameter in (gamma, beta):
        parameter.set_data(mx.nd.zeros(parameter.shape))
    internals = get_symbol(cfg).get_internals()
    group = mx.sym.Group([internals[f'res_4_block{index}_plus_output'] for index in (2, 3, 4)])
    values = {name: parameter.data() for name, parameter in net.collect_params().items()}
    values['data'] = make_images(cfg.image_shape, count=1)
    arguments = {name: values[name] for name in group.list_arguments()}
    states = {name: values[name] for name in group.list_auxiliary_states()}
    before, same, after = group.bind(mx.cpu(), arguments, aux_states=states, grad_req='null').forward()
    assert (before == same).asnumpy().all()
    assert (same != after).asnumpy().any()
