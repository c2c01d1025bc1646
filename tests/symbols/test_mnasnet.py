"""What is special to the MnasNets."""

from __future__ import annotations

import json

import pytest

from config import resolve
from symbols import get_symbol, list_activations
from symbols.mnasnet import STAGES
from tests.helpers.families import spared_from_decay


def small(**overrides):
    return resolve('mnas', **{'net_multiplier': 0.125, 'emb_size': 16, **overrides})


def convolutions(symbol):
    """Return the kernel and stride of each convolution of the body, by its name without what all have."""
    start, end = 'mnasnet0_', '_fwd'
    return {
        node['name'][len(start) : -len(end)]: (node['attrs']['kernel'], node['attrs']['stride'])
        for node in json.loads(symbol.tojson())['nodes']
        if node['op'] == 'Convolution' and node['name'].startswith(start)
    }


def layer(name, index=0, *, linear=False):
    norm = [f'mnasnet0_{name}batchnorm{index}_{part}' for part in ('gamma', 'beta')]
    slope = [] if linear else [f'mnasnet0_{name}prelu{index}_alpha']
    return [f'mnasnet0_{name}conv{index}_weight', *norm, *slope]


def test_shapes_of_the_stages(internal_shapes):
    shapes = internal_shapes(get_symbol(resolve('mnas', net_output='bn_dropout')))
    assert shapes['mnasnet0_stage1_conv0_prelu0_output'] == (1, 32, 112, 112)
    assert shapes['mnasnet0_stage1_sepconv0_prelu1_output'] == (1, 16, 112, 112)
    ends = {
        'stage2_expandedconv2': (1, 24, 56, 56),
        'stage3_expandedconv2': (1, 40, 28, 28),
        'stage4_1_expandedconv2': (1, 80, 14, 14),
        'stage4_2_expandedconv1': (1, 96, 14, 14),
        'stage5_1_expandedconv3': (1, 192, 7, 7),
        'stage5_2_expandedconv0': (1, 320, 7, 7),
    }
    found = {name: shapes[f'mnasnet0_{name}_linear_batchnorm0_fwd_output'] for name in ends}
    assert found == ends
    assert shapes['dropout0_output'] == (1, 1024, 7, 7)


def test_names_of_the_parameters():
    symbol = get_symbol(small())
    arguments, states = symbol.list_arguments(), symbol.list_auxiliary_states()
    units = [f'{stage.prefix}expandedconv{index}_' for stage in STAGES for index in range(stage.units)]
    assert len(units) == 16
    assert [name for name in arguments if name.startswith('mnasnet0_')] == [
        *layer('stage1_conv0_'),
        *layer('stage1_sepconv0_', 0),
        *layer('stage1_sepconv0_', 1),
        *(
            name
            for unit in units
            for name in (
                *layer(f'{unit}expand_'),
                *layer(f'{unit}dwise_'),
                *layer(f'{unit}linear_', linear=True),
            )
        ),
        *layer('stage5_3_'),
    ]
    assert {n.rsplit('_', 2)[1] for n in states if n.startswith('mnasnet0_')} == {'running'}
    assert {n.rsplit('_', 2)[1] for n in states if not n.startswith('mnasnet0_')} == {'moving'}


def test_the_first_unit_of_a_stage_alone_has_its_kernel_and_stride():
    found = convolutions(get_symbol(small()))
    firsts = {name: value for name, value in found.items() if name.endswith('expandedconv0_dwise_conv0')}
    assert list(firsts.values()) == [
        ('(3, 3)', '(2, 2)'),
        ('(5, 5)', '(2, 2)'),
        ('(5, 5)', '(2, 2)'),
        ('(3, 3)', '(1, 1)'),
        ('(5, 5)', '(2, 2)'),
        ('(3, 3)', '(1, 1)'),
    ]
    others = {value for name, value in found.items() if 'dwise' in name and name not in firsts}
    assert others == {('(3, 3)', '(1, 1)')}
    assert {value[1] for name, value in found.items() if 'dwise' not in name} == {'(1, 1)'}


def test_all_but_the_first_unit_of_a_stage_add_their_input(internal_shapes):
    names = [name for name in internal_shapes(get_symbol(small())) if 'elemwise_add0' in name]
    assert names == [
        f'mnasnet0_{stage.prefix}expandedconv{index}_elemwise_add0_output'
        for stage in STAGES
        for index in range(1, stage.units)
    ]


@pytest.mark.parametrize(('preset', 'factor'), [('mnas', 1), ('mnas05', 0.5), ('mnas025', 0.25)])
def test_widths_of_the_presets(preset, factor, internal_shapes):
    shapes = internal_shapes(get_symbol(resolve(preset, net_output='bn_dropout')))
    width = 16
    for stage in STAGES:
        unit = f'mnasnet0_{stage.prefix}expandedconv0_'
        inner = int(width * factor) * stage.expansion
        assert shapes[f'{unit}dwise_conv0_weight'] == (inner, 1, stage.kernel, stage.kernel)
        assert shapes[f'{unit}linear_conv0_weight'][:2] == (int(stage.channels * factor), inner)
        width = stage.channels
    assert shapes['dropout0_output'] == (1, 1024 * factor, 7, 7)


@pytest.mark.parametrize(('activation', 'shape'), [('prelu', (1,)), ('prelu_channel', (4,))])
def test_slopes_are_shared_unless_the_channels_have_their_own(activation, shape, internal_shapes):
    shapes = internal_shapes(get_symbol(small(net_act=activation)))
    slopes = {name: shape for name, shape in shapes.items() if name.endswith('_alpha')}
    assert len(slopes) == 3 + 2 * 16 + 1
    assert slopes['mnasnet0_stage1_conv0_prelu0_alpha'] == shape


@pytest.mark.parametrize('activation', list_activations())
def test_activations_are_named_as_gluon_names_them(activation, internal_shapes):
    kind = 'prelu' if activation == 'prelu_channel' else activation
    names = internal_shapes(get_symbol(small(net_act=activation)))
    assert f'mnasnet0_stage1_sepconv0_{kind}1_output' in names


def test_settings_of_the_batch_norms():
    attributes = get_symbol(small(bn_mom=0.8, net_output='E')).attr_dict()
    norms = {name: a for name, a in attributes.items() if 'eps' in a}
    body = {name for name in norms if name.startswith('mnasnet0_')}
    assert {float(norms[name]['eps']) for name in body} == {1e-5}
    assert {float(norms[name]['eps']) for name in norms.keys() - body} == {2e-5}
    assert {float(a['momentum']) for a in norms.values()} == {0.8}
    assert {name for name, a in norms.items() if a['fix_gamma'] == 'True'} == {'fc1'}
    assert all(name.endswith('_fwd') for name in body)


def test_weight_decay_is_gluons_in_the_body_and_insightfaces_in_the_head():
    assert spared_from_decay(get_symbol(small(net_output='E'))) == {'bn1_beta', 'pre_fc1_bias', 'fc1_beta'}


@pytest.mark.parametrize(('size', 'left'), [((1, 1), (1, 1)), ((33, 97), (3, 7)), ((112, 96), (7, 6))])
def test_odd_sizes_are_rounded_up(size, left):
    symbol = get_symbol(small(image_shape=(*size, 3), net_output='bn_dropout'))
    assert symbol.infer_shape(data=(2, 3, *size))[1] == [(2, 128, *left)]
