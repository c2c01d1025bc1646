"""What is special to the ResNets."""

from __future__ import annotations

import json
import re
from itertools import product
from math import prod
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from config import ConfigError, resolve
from config.presets import RESNET_BOTTLENECK, RESNET_UNITS
from symbols import get_block, get_symbol
from symbols.audit.core import audit

import mxnet as mx

VARIANTS = json.loads(
    (Path(__file__).parents[1] / 'reference' / 'insightface' / 'resnet_variants.json').read_text('utf-8')
)
BOTTLENECKS = [row for row in VARIANTS if 'variances' in row]
WHAT = ('num_layers', 'net_unit', 'net_se', 'net_input')


def small(**overrides):
    return resolve('r18', **{'net_multiplier': 0.125, 'emb_size': 16, **overrides})


@pytest.mark.parametrize('depth', [18, 50, 518])
def test_units_per_stage(depth, internal_shapes):
    shapes = internal_shapes(get_symbol(resolve('r18', num_layers=depth)))
    units = {name for name in shapes if name.endswith('_plus_output')}
    expected = {
        f'stage{stage}_unit{unit}_plus_output'
        for stage, count in enumerate(RESNET_UNITS[depth % RESNET_BOTTLENECK], start=1)
        for unit in range(1, count + 1)
    }
    assert units == expected


def value_of(name, shape):
    """Return the values that tests/reference/README.md prescribes for the rows of resnet_variants.json."""
    rng = np.random.RandomState(crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith('_weight'):
        values = rng.randn(*shape) * np.sqrt(2 / max(1, prod(shape[1:])))
    elif name.endswith('_var'):
        values = rng.uniform(1, 2, shape) * (5000 if name == 'bn_data_moving_var' else 1)
    elif name.endswith('_gamma'):
        values = rng.uniform(0.05, 0.45, shape) if 'relu' in name else rng.uniform(0.6, 1.4, shape)
    else:
        values = rng.randn(*shape) * 0.1
    return mx.nd.array(values.astype(np.float32))


def variants():
    """Yield the rows; slow are those that compute something, but for each unit with each stem."""
    for row in VARIANTS:
        quick = 'y' not in row or (row['num_layers'] == 18 and not row['net_se']) or row == VARIANTS[-1]
        name = '-'.join(str(row[key]) for key in WHAT)
        yield pytest.param(row, id=name, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize('row', list(variants()))
def test_every_depth_unit_and_stem_equals_insightfaces(row):
    settings = {key: row[key] for key in (*WHAT, 'emb_size')}
    symbol = get_symbol(resolve('r18', image_shape=(48, 48, 3), **settings))
    images = np.random.RandomState(7).uniform(0, 255, (2, 3, 48, 48)).astype(np.float32)
    shapes, _, states = symbol.infer_shape(data=images.shape)
    arguments = dict(zip(symbol.list_arguments(), shapes))
    del arguments['data']
    auxiliary = dict(zip(symbol.list_auxiliary_states(), states))
    assert (sum(map(prod, shapes[1:])), sum(map(prod, states))) == (row['params'], row['aux'])
    table = sorted([name, list(shape)] for name, shape in {**arguments, **auxiliary}.items())
    assert crc32(json.dumps(table).encode()) == row['names']
    if 'y' in row:
        values = {name: value_of(name, shape) for name, shape in arguments.items()}
        stored = {name: value_of(name, shape) for name, shape in auxiliary.items()}
        values['data'] = mx.nd.array(images)
        executor = symbol.bind(mx.cpu(), values, grad_req='null', aux_states=stored)
        output = executor.forward(is_train=False)[0].asnumpy()
        assert np.abs(output - row['y']).max() <= 1e-5 * np.abs(row['y']).max()


def test_the_rows_are_of_every_depth_and_of_every_unit_with_every_stem():
    depths = {*RESNET_UNITS} - {198}  # arcface_torch's alone
    assert {row['num_layers'] for row in VARIANTS} == {*depths, RESNET_BOTTLENECK + 18}
    outputs = {tuple(row[key] for key in WHAT) for row in VARIANTS if 'y' in row}
    assert outputs >= set(product((18, 518), (1, 2, 3, 4), (False, True), (0, 1, 2)))


def test_shapes_of_the_stages(internal_shapes):
    shapes = internal_shapes(get_symbol(resolve('r18', net_output='bn_dropout')))
    assert shapes['relu0_output'] == (1, 64, 112, 112)
    assert [shapes[f'stage{stage}_unit2_plus_output'] for stage in (1, 2, 3, 4)] == [
        (1, 64, 56, 56),
        (1, 128, 28, 28),
        (1, 256, 14, 14),
        (1, 512, 7, 7),
    ]
    assert shapes['dropout0_output'] == (1, 512, 7, 7)


def test_names_of_the_parameters():
    arguments = get_symbol(small()).list_arguments()
    norm = ['gamma', 'beta']
    unit = [
        *(f'bn1_{p}' for p in norm),
        'conv1_weight',
        *(f'bn2_{p}' for p in norm),
        'relu1_gamma',
        'conv2_weight',
        *(f'bn3_{p}' for p in norm),
    ]
    assert arguments[:5] == ['data', 'conv0_weight', 'bn0_gamma', 'bn0_beta', 'relu0_gamma']
    second = [name for name in arguments if name.startswith('stage3_unit2_')]
    assert second == [f'stage3_unit2_{name}' for name in unit]
    first = [name for name in arguments if name.startswith('stage3_unit1_')]
    assert set(first) == {f'stage3_unit1_{name}' for name in [*unit, 'conv1sc_weight', 'sc_gamma', 'sc_beta']}
    assert arguments[-6:] == [
        'bn1_gamma',
        'bn1_beta',
        'pre_fc1_weight',
        'pre_fc1_bias',
        'fc1_gamma',
        'fc1_beta',
    ]


def test_the_second_convolution_has_the_stride():
    attributes = get_symbol(small()).attr_dict()
    strides = {name: attributes[f'stage2_unit1_{name}']['stride'] for name in ('conv1', 'conv2', 'conv1sc')}
    assert strides == {'conv1': '(1, 1)', 'conv2': '(2, 2)', 'conv1sc': '(2, 2)'}


def test_the_7x7_stem_alone_strides_early_in_unit_1():
    late = get_symbol(small(net_unit=1)).attr_dict()
    early = get_symbol(small(net_unit=1, net_input=0)).attr_dict()
    assert [late[f'stage2_unit1_{name}']['stride'] for name in ('conv1', 'conv2')] == ['(1, 1)', '(2, 2)']
    assert [early[f'stage2_unit1_{name}']['stride'] for name in ('conv1', 'conv2')] == ['(2, 2)', '(1, 1)']


def test_a_bottleneck_network_ends_with_512_channels(internal_shapes):
    shapes = internal_shapes(get_symbol(resolve('r18', num_layers=518, net_output='bn_dropout')))
    assert shapes['stage4_unit2_plus_output'] == (1, 2048, 7, 7)
    assert shapes['dropout0_output'] == shapes['relud_output'] == (1, 512, 7, 7)


def test_a_batch_norm_in_place_of_the_pixel_constants():
    symbol = get_symbol(small(net_input=2))
    assert 'data_scaled_output' not in symbol.get_internals().list_outputs()
    assert symbol.attr_dict()['bn_data']['fix_gamma'] == 'True'


def test_widths_that_do_not_split_into_32_groups_are_refused():
    message = 'conv1 cannot split 32 and 16 channels into 32 groups; choose another net_multiplier'
    with pytest.raises(ConfigError, match=re.escape(message)):
        get_symbol(resolve('r18', net_unit=4, net_multiplier=0.5))


def test_half_precision_up_to_the_last_stage():
    """The types of InsightFace's graph; a CPU cannot compute it."""
    symbol = get_symbol(small(fp16=True, net_se=True))
    types, outputs, states = symbol.infer_type(data='float32')
    half = [name for name, kind in zip(symbol.list_arguments(), types) if kind is np.float16]
    assert [np.dtype(kind).name for kind in outputs] == ['float32']
    assert 'conv0_weight' in half
    assert {'stage3_unit2_conv2_weight', 'stage3_unit2_relu1_gamma', 'stage3_unit2_se_conv2_bias'} <= set(
        half
    )
    assert not [name for name in half if name.startswith('stage4') or '_bn' in name or 'fc1' in name]
    assert {np.dtype(kind).name for kind in states} == {'float32'}


def test_settings_of_the_batch_norms():
    attributes = get_symbol(small(bn_mom=0.7)).attr_dict()
    norms = {name: a for name, a in attributes.items() if 'eps' in a}
    assert len(norms) == 31
    assert {float(a['eps']) for a in norms.values()} == {2e-5}
    assert {float(a['momentum']) for a in norms.values()} == {0.7}
    assert {name for name, a in norms.items() if a['fix_gamma'] == 'True'} == {'fc1'}


def test_one_eps_for_all_batch_norms():
    attributes = get_symbol(small(bn_eps=1e-5, net_output='gdc_fc_bn', net_input=2)).attr_dict()
    assert {float(a['eps']) for a in attributes.values() if 'eps' in a} == {1e-5}


def test_weight_decay_spares_biases_and_betas():
    """As InsightFace, whose optimiser decays what ends in weight or gamma."""
    symbol = get_symbol(small())
    attributes = symbol.attr_dict()
    for name in symbol.list_arguments():
        if name != 'data':
            decayed = name.endswith(('_weight', '_gamma'))
            assert float(attributes[name]['__wd_mult__']) == decayed, name


def test_the_optimiser_of_a_module_reads_it():
    symbol = get_symbol(small())
    names = dict(enumerate(symbol.list_arguments()))
    optimiser = mx.optimizer.SGD(sym=symbol, param_idx2name=names, wd=1.0)
    decay = {names[index]: optimiser._get_wd(index) for index in names}
    assert (decay['conv0_weight'], decay['bn0_gamma'], decay['relu0_gamma']) == (1, 1, 1)
    assert (decay['bn0_beta'], decay['pre_fc1_bias'], decay['fc1_beta']) == (0, 0, 0)


def test_pixels_are_normalised_inside():
    cfg = small(net_output='gap_fc_bn')
    symbol = get_symbol(cfg)
    scaled = symbol.get_internals()['data_scaled_output']
    values = mx.nd.array([0.0, 127.5, 255.0]).reshape((1, 3, 1, 1))
    (y,) = scaled.eval(data=values)
    np.testing.assert_allclose(y.asnumpy().ravel(), [-0.99609375, 0, 0.99609375])


def test_a_unit_adds_its_branch_to_its_input(make_network, make_images):
    """With all the last batch norms of the branches at 0 the second unit of a stage passes its input on."""
    cfg = small(net_output='fc', net_act='relu', bn_mom=0)
    net = make_network(cfg)
    for name, parameter in net.collect_params('stage[1-4]_unit2_bn3_(gamma|beta)').items():
        parameter.set_data(mx.nd.zeros(parameter.shape))
        assert 'unit2' in name
    internals = get_symbol(cfg).get_internals()
    outputs = [internals[f'stage3_unit{unit}_plus_output'] for unit in (1, 2)]
    values = {name: parameter.data() for name, parameter in net.collect_params().items()}
    values['data'] = make_images(cfg.image_shape, count=1)
    group = mx.sym.Group(outputs)
    arguments = {name: values[name] for name in group.list_arguments()}
    states = {name: values[name] for name in group.list_auxiliary_states()}
    first, second = group.bind(mx.cpu(), arguments, aux_states=states, grad_req='null').forward()
    np.testing.assert_array_equal(first.asnumpy(), second.asnumpy())


def test_the_multiplier_scales_every_width():
    shapes = {name: p.shape for name, p in get_block(small()).collect_params().items()}
    assert shapes['conv0_weight'] == (8, 3, 3, 3)
    assert [shapes[f'stage{stage}_unit1_conv2_weight'][0] for stage in (1, 2, 3, 4)] == [8, 16, 32, 64]
    assert shapes['pre_fc1_weight'] == (16, 64 * 7 * 7)


STRIDES = {  # of conv1, conv2, conv3 and of the shortcut's, in InsightFace's bottleneck units, by unit and stem
    (1, 0): (2, 1, 1, 2),
    (1, 1): (1, 1, 2, 2),
    (2, 1): (1, 2, 1, 2),
    (3, 1): (1, 1, 2, 2),
    (4, 1): (1, 1, 2, 2),
}
MACS = {  # of the same in the first stage, for 48x48 pixels: places x filters x values that each filter reads
    (1, 0): (12**2 * 64 * 64, 12**2 * 64 * 64 * 9, 12**2 * 256 * 64, 12**2 * 256 * 64),
    (1, 1): (48**2 * 64 * 64, 48**2 * 64 * 64 * 9, 24**2 * 256 * 64, 24**2 * 256 * 64),
    (2, 1): (48**2 * 64 * 64, 24**2 * 64 * 64 * 9, 24**2 * 256 * 64, 24**2 * 256 * 64),
    (3, 1): (48**2 * 64 * 64, 48**2 * 64 * 64 * 9, 24**2 * 256 * 64, 24**2 * 256 * 64),
    (4, 1): (48**2 * 128 * 2, 48**2 * 128 * 4 * 9, 24**2 * 256 * 128, 24**2 * 256 * 64),
}


@pytest.mark.parametrize(('unit', 'stem'), STRIDES)
def test_a_bottleneck_s_strides_and_macs(unit, stem):
    """Of a 3x3 and a 1x1 convolution either may have the stride, and the outputs are the same; the cost is not."""
    symbol = get_symbol(
        resolve('r18', image_shape=(48, 48, 3), num_layers=518, net_unit=unit, net_input=stem)
    )
    names = ('conv1', 'conv2', 'conv3', 'sc' if unit == 2 else 'conv1sc')
    attributes = symbol.attr_dict()
    for stage in (1, 2, 3, 4):
        own = [attributes[f'stage{stage}_unit1_{name}'].get('stride', '(1, 1)') for name in names]
        assert own == [f'({stride}, {stride})' for stride in STRIDES[unit, stem]]
        rest = [attributes[f'stage{stage}_unit2_{name}'].get('stride', '(1, 1)') for name in names[:3]]
        assert rest == ['(1, 1)'] * 3
    layers = {layer.name: layer.flops for layer in audit(symbol, {'data': (1, 3, 48, 48)}).layers}
    assert tuple(layers[f'stage1_unit1_{name}'] for name in names) == MACS[unit, stem]


@pytest.mark.parametrize('row', BOTTLENECKS, ids=str)
def test_a_bottleneck_s_statistics_after_a_step_are_insightface_s(row):
    """A batch norm behind the convolution sees where its stride is."""
    settings = {key: row[key] for key in WHAT}
    symbol = get_symbol(resolve('r18', image_shape=(48, 48, 3), **settings))
    symbol = symbol.get_internals()['stage1_unit1_plus_output']
    images = np.random.RandomState(7).uniform(0, 255, (2, 3, 48, 48)).astype(np.float32)
    shapes, _, states = symbol.infer_shape(data=images.shape)
    values = {name: value_of(name, shape) for name, shape in zip(symbol.list_arguments(), shapes)}
    stored = {name: value_of(name, shape) for name, shape in zip(symbol.list_auxiliary_states(), states)}
    values['data'] = mx.nd.array(images)
    gradients = {name: mx.nd.zeros_like(value) for name, value in values.items()}
    executor = symbol.bind(mx.cpu(), values, gradients, aux_states=stored)
    executor.forward(is_train=True)
    executor.backward(mx.nd.ones(symbol.infer_shape(data=images.shape)[1][0]))
    mx.nd.waitall()
    found = {name: stored[name].asnumpy().mean() for name in row['variances']}
    assert found == pytest.approx(row['variances'], rel=2e-5)
