"""What is special to VarGFaceNet."""

from __future__ import annotations

import re

import pytest

from config import ConfigError, resolve
from symbols import get_symbol
from symbols.vargfacenet import STAGES


def small(**overrides):
    return resolve('vargfacenet', **{'net_multiplier': 0.25, 'emb_size': 16, **overrides})


def norm(name):
    return [f'{name}_gamma', f'{name}_beta']


def separable(name, *, linear=True):
    depthwise, pointwise = f'{name}_conv2d_depthwise', f'{name}_conv2d_pointwise'
    return [
        *(f'{depthwise}_weight', *norm(f'{depthwise}_bn'), f'{depthwise}_act_gamma'),
        *(f'{pointwise}_weight', *norm(f'{pointwise}_bn')),
        *([] if linear else [f'{pointwise}_act_gamma']),
    ]


def squeeze(name):
    first, second = ([f'{name}_se_conv{index}_{part}' for part in ('weight', 'bias')] for index in (1, 2))
    return [*first, f'{name}_se_act1_gamma', *second]


def arguments_of(symbol, start):
    return [name for name in symbol.list_arguments() if name.startswith(start)]


def test_shapes_of_the_stages(internal_shapes):
    shapes = internal_shapes(get_symbol(resolve('vargfacenet', net_output='bn_dropout')))
    assert shapes['vargface_head_conv1_act_output'] == (1, 40, 112, 112)
    assert shapes['vargface_head_head_pooling_out_data_act_output'] == (1, 40, 56, 56)
    assert [shapes[f'vargface_stage_{stage}_unit_3_out_data_act_output'] for stage in (2, 3, 4)] == [
        (1, 80, 28, 28),
        (1, 160, 14, 14),
        (1, 320, 7, 7),
    ]
    assert shapes['embed_convx_act_output'] == (1, 1024, 7, 7)
    assert shapes['embed_convx_depthwise_output'] == (1, 1024, 1, 1)
    assert shapes['dropout0_output'] == (1, 512, 1, 1)


def test_blocks_per_stage(internal_shapes):
    shapes = internal_shapes(get_symbol(small()))
    assert {name for name in shapes if re.match(r'vargface_stage_\d_unit_\d_plus', name)} == {
        f'vargface_stage_{index}_unit_{unit}_plus_output'
        for index, stage in enumerate(STAGES, start=2)
        for unit in range(1, stage.blocks + 1)
    }
    assert [stage.blocks for stage in STAGES] == [3, 7, 4]


def test_names_of_the_parameters():
    symbol = get_symbol(small())
    name = 'vargface_head_head_pooling'
    assert arguments_of(symbol, 'vargface_head') == [
        *('vargface_head_conv1_weight', *norm('vargface_head_conv1_bn'), 'vargface_head_conv1_act_gamma'),
        *separable(f'{name}_sep1_data', linear=False),
        *separable(f'{name}_sep2_data'),
        *separable(f'{name}_shortcut'),
        f'{name}_out_data_act_gamma',
    ]
    name = 'vargface_stage_3_unit_1'
    assert arguments_of(symbol, f'{name}_') == [
        *separable(f'{name}_sep1_data_branch'),
        *separable(f'{name}_sep2_data_branch'),
        f'{name}_sep1_data_act_gamma',
        *separable(f'{name}_sep2_data'),
        *separable(f'{name}_shortcut'),
        f'{name}_out_data_act_gamma',
    ]
    name = 'vargface_stage_3_unit_7'
    assert arguments_of(symbol, f'{name}_') == [
        *separable(f'{name}_sep1_data', linear=False),
        *separable(f'{name}_sep2_data'),
        f'{name}_out_data_act_gamma',
    ]
    assert arguments_of(symbol, 'embed') == [
        *('embed_convx_weight', *norm('embed_convx_bn'), 'embed_convx_act_gamma'),
        *('embed_convx_depthwise_weight', *norm('embed_convx_depthwise_bn')),
        *(
            'embed_convx_pointwise_weight',
            *norm('embed_convx_pointwise_bn'),
            'embed_convx_pointwise_act_gamma',
        ),
    ]


def test_groups_of_eight_channels_that_widen_by_two_except_in_the_head(internal_shapes):
    symbol = get_symbol(small())
    shapes, attributes = internal_shapes(symbol), symbol.attr_dict()
    grouped = {name: shape for name, shape in shapes.items() if name.endswith('depthwise_weight')}
    assert len(grouped) == 3 + 3 * 4 + 2 * (2 + 6 + 3) + 1
    assert {shape[1] for shape in grouped.values()} == {8}
    for name, shape in grouped.items():
        groups = int(attributes[name[: -len('_weight')]]['num_group'])
        assert shape[0] / (8 * groups) == (1 if 'head' in name or 'embed' in name else 2)


def test_the_strides():
    attributes = get_symbol(small()).attr_dict()
    halving = {name for name, a in attributes.items() if a.get('stride') == '(2, 2)'}
    openings = [
        f'vargface_stage_{stage}_unit_1_{part}'
        for stage in (2, 3, 4)
        for part in ('sep1_data_branch', 'sep2_data_branch', 'shortcut')
    ]
    head = [f'vargface_head_head_pooling_{part}' for part in ('sep1_data', 'shortcut')]
    assert halving == {f'{name}_conv2d_depthwise' for name in (*head, *openings)}


def test_squeeze_and_excite_is_in_every_block_but_those_that_open_a_stage(internal_shapes):
    """As InsightFace has it."""
    plain, symbol = get_symbol(small()), get_symbol(small(net_se=True))
    new = [name for name in symbol.list_arguments() if name not in plain.list_arguments()]
    blocks = ['vargface_head_head_pooling'] + [
        f'vargface_stage_{index}_unit_{unit}'
        for index, stage in enumerate(STAGES, start=2)
        for unit in range(2, stage.blocks + 1)
    ]
    assert new == [name for block in blocks for name in squeeze(block)]
    shapes = internal_shapes(symbol)
    assert shapes['vargface_stage_4_unit_2_se_conv1_weight'] == (16, 64, 1, 1)  # a quarter


def test_settings_of_the_batch_norms():
    attributes = get_symbol(small(bn_mom=0.7)).attr_dict()
    norms = {name: a for name, a in attributes.items() if 'eps' in a}
    assert {float(a['eps']) for a in norms.values()} == {2e-5}
    assert {float(a['momentum']) for a in norms.values()} == {0.7}
    assert {name for name, a in norms.items() if a['fix_gamma'] == 'True'} == {'fc1'}


def test_the_multiplier_reaches_all_but_the_last_three_convolutions(internal_shapes):
    shapes = internal_shapes(get_symbol(small(net_multiplier=0.5)))
    assert shapes['vargface_head_conv1_weight'][0] == 16
    last = [shapes[f'vargface_stage_{stage}_unit_2_out_data_act_gamma'] for stage in (2, 3, 4)]
    assert last == [(32,), (64,), (128,)]
    assert shapes['embed_convx_weight'][:2] == (1024, 128)
    assert shapes['embed_convx_pointwise_weight'][:2] == (512, 1024)


@pytest.mark.parametrize(
    ('multiplier', 'widths', 'near'),
    [(0.1, '3, 6, 12, 25', 0.25), (0.3, '9, 19, 38, 76', 0.25), (1.3, '41, 83, 166, 332', 1.25)],
)
def test_channels_that_do_not_split_into_groups_are_refused(multiplier, widths, near):
    message = (
        f"net_multiplier={multiplier} does not go with net_name='vargfacenet': it makes {widths} channels, "
        f'which have to be multiples of 8; the nearest that does is {near}'
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        get_symbol(small(net_multiplier=multiplier))
    get_symbol(small(net_multiplier=near))


@pytest.mark.parametrize(
    ('size', 'kernel', 'left'),
    [
        ((1, 1), (1, 1), (1, 1)),
        ((33, 97), (3, 7), (1, 1)),
        ((112, 96), (7, 6), (1, 1)),
        ((97, 113), (7, 7), (1, 2)),
        ((224, 224), (7, 7), (8, 8)),  # as InsightFace
    ],
)
def test_the_last_grouped_convolution_is_no_larger_than_the_map(size, kernel, left, internal_shapes):
    shapes = internal_shapes(
        get_symbol(small(image_shape=(*size, 3), net_output='bn_dropout')), (1, 3, *size)
    )
    assert shapes['embed_convx_depthwise_weight'] == (1024, 8, *kernel)
    assert shapes['dropout0_output'] == (1, 512, *left)
