"""Weights of arcface_torch by name: where each goes, and what is no such file. Outputs: test_arcface_torch_outputs."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest

from config import CheckpointError, ConfigError, network, resolve
from config.presets import RESNET_UNITS
from recognition.weights.arcface_torch import PRESETS, SETTINGS, read_arcface_torch, settings_for
from symbols import get_symbol
from tests.helpers.iresnets import EMB, UNITS, iresnet, write_iresnet

SMALL = resolve('r18', emb_size=EMB, **SETTINGS)


@pytest.fixture
def write(tmp_path):
    """Return a function: shapes -> (path, the number that fills each parameter, by name); see `write_iresnet`."""
    return partial(write_iresnet, tmp_path / 'backbone.pth')


def message(path, cfg=SMALL) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_arcface_torch(path, cfg)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('name', UNITS)
def test_the_presets_have_the_units_of_arcface_torch(name):
    preset = {**network[PRESETS[name]], **settings_for(int(PRESETS[name][1:]))}
    assert RESNET_UNITS[preset['num_layers']] == UNITS[name]
    assert PRESETS.keys() == UNITS.keys()


def test_every_parameter_is_where_it_belongs(write):
    path, values = write(iresnet(UNITS['iresnet18']))
    found = read_arcface_torch(path, SMALL)
    symbol = get_symbol(SMALL)
    wanted = [*symbol.list_arguments()[1:], *symbol.list_auxiliary_states()]
    assert sorted(found) == sorted(wanted)
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in found.values())
    pairs = {
        'conv1.weight': 'conv0_weight',
        'bn1.weight': 'bn0_gamma',
        'bn1.bias': 'bn0_beta',
        'bn1.running_mean': 'bn0_moving_mean',
        'bn1.running_var': 'bn0_moving_var',
        'prelu.weight': 'relu0_gamma',
        'layer1.0.bn1.weight': 'stage1_unit1_bn1_gamma',
        'layer1.0.downsample.0.weight': 'stage1_unit1_conv1sc_weight',
        'layer1.0.downsample.1.running_mean': 'stage1_unit1_sc_moving_mean',
        'layer3.1.conv1.weight': 'stage3_unit2_conv1_weight',
        'layer3.1.bn2.bias': 'stage3_unit2_bn2_beta',
        'layer3.1.prelu.weight': 'stage3_unit2_relu1_gamma',
        'layer3.1.conv2.weight': 'stage3_unit2_conv2_weight',
        'layer4.1.bn3.running_var': 'stage4_unit2_bn3_moving_var',
        'bn2.running_var': 'bn1_moving_var',
        'fc.weight': 'pre_fc1_weight',
        'fc.bias': 'pre_fc1_bias',
        'features.weight': 'fc1_gamma',
        'features.bias': 'fc1_beta',
        'features.running_mean': 'fc1_moving_mean',
        'features.running_var': 'fc1_moving_var',
    }
    for theirs, ours in pairs.items():
        assert (found[ours] == values[theirs]).all(), ours
    used = {float(array.ravel()[0]) for array in found.values()}
    assert used == {value for name, value in values.items() if not name.endswith('num_batches_tracked')}


def test_no_element_is_moved(write):
    shapes = iresnet(UNITS['iresnet18'])
    rng = np.random.RandomState(0)
    names = {
        'conv1.weight': 'conv0_weight',
        'layer2.0.conv2.weight': 'stage2_unit1_conv2_weight',
        'fc.weight': 'pre_fc1_weight',
    }
    arrays = {name: rng.randn(*shapes.pop(name)).astype('f2') for name in names}
    path, _ = write(shapes, arrays)
    found = read_arcface_torch(path, SMALL)
    for name, ours in names.items():
        np.testing.assert_array_equal(found[ours], arrays[name])


def test_batch_counters_may_be_absent(write):
    shapes = {name: s for name, s in iresnet(UNITS['iresnet18']).items() if 'num_batches' not in name}
    path, _ = write(shapes)
    assert len(read_arcface_torch(path, SMALL)) == len(shapes)


@pytest.mark.parametrize('head', ['E', 'FC', 'bn_fc_bn'])
def test_the_head_may_be_without_dropout(write, head):
    path, _ = write(iresnet(UNITS['iresnet18']))
    assert len(read_arcface_torch(path, resolve('r18', emb_size=EMB, net_output=head, **SETTINGS)))


def test_a_gamma_that_would_be_ignored_is_multiplied_in(write, caplog):
    shapes = iresnet(UNITS['iresnet18'])
    rng = np.random.RandomState(0)
    names = ('fc.weight', 'fc.bias', 'features.weight', 'features.running_mean', 'features.running_var')
    arrays = {name: rng.uniform(0.5, 2, shapes.pop(name)).astype('f4') for name in names}
    arrays['features.weight'][0] *= -1
    path, values = write(shapes, arrays)
    with caplog.at_level(logging.WARNING):
        found = read_arcface_torch(path, SMALL)
    assert f'{path}: features.weight is not 1' in caplog.text
    x = rng.randn(5, 512 * 7 * 7).astype('f4')

    def embedding(weight, bias, gamma, mean, var):
        return gamma * (x @ weight.T + bias - mean) / np.sqrt(var + SETTINGS['bn_eps'])

    ours = ('pre_fc1_weight', 'pre_fc1_bias', 'fc1_gamma', 'fc1_moving_mean', 'fc1_moving_var')
    assert (found['fc1_gamma'] == 1).all()
    assert (found['fc1_beta'] == values['features.bias']).all()
    np.testing.assert_allclose(
        embedding(*(found[name] for name in ours)), embedding(*arrays.values()), rtol=1e-4, atol=1e-3
    )


# --- files and configs that do not go together


@pytest.mark.parametrize(('name', 'preset'), list(PRESETS.items()))
def test_another_depth_is_named_with_its_preset(write, name, preset):
    path, _ = write(iresnet(UNITS[name]))
    other = 'r34' if preset == 'r18' else 'r18'
    text = message(path, resolve(other, emb_size=EMB, **SETTINGS))
    assert f'{path} does not fit num_layers={other[1:]}' in text
    assert text.endswith(f'as {name} (--network {preset})')


def test_insightfaces_own_200_is_another_network(write):
    path, _ = write(iresnet(UNITS['iresnet200']))
    text = message(path, resolve('r200', emb_size=EMB, **SETTINGS))
    assert 'which has 3, 24, 36, 3 units in its stages: it has 6, 26, 60, 6' in text
    assert RESNET_UNITS[resolve('r200', **settings_for(200)).num_layers] == (6, 26, 60, 6)


def test_a_depth_that_arcface_torch_has_not(write):
    path, _ = write(iresnet((3, 2, 2, 2)))
    assert 'as none of iresnet18, ' in message(path)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('net_output', 'GDC'),
        ('net_output', 'J'),
        ('net_unit', 1),
        ('net_input', 0),
        ('net_act', 'relu'),
        ('net_se', True),
        ('net_multiplier', 0.5),
        ('input_mean', 0.0),
        ('input_scale', 0.0078125),
        ('bn_eps', None),
        ('bn_eps', 2e-5),
        ('num_layers', 550),
    ],
)
def test_a_config_of_another_network(write, key, value):
    path, _ = write(iresnet(UNITS['iresnet18']))
    text = message(path, {**SMALL, key: value})
    assert text.startswith(f'{key}={value!r} does not go with weights of arcface_torch')


def test_another_family(write):
    path, _ = write(iresnet(UNITS['iresnet18']))
    assert "net_name='fdensenet' does not go" in message(path, resolve('d121', **SETTINGS))
    with pytest.raises(ConfigError):
        read_arcface_torch(path, {'net_name': 'fresnet', 'num_layers': 17})


def test_another_embedding_or_image_size(write):
    path, _ = write(iresnet(UNITS['iresnet18']))
    text = message(path, resolve('r18', **SETTINGS))
    assert 'it differs in pre_fc1_weight (8, 25088) instead of (512, 25088)' in text
    text = message(path, resolve('r18', emb_size=EMB, image_shape=(128, 112, 3), **SETTINGS))
    assert 'pre_fc1_weight (8, 25088) instead of (8, 28672)' in text


@pytest.mark.parametrize(
    'name', ['layer1.0.conv3.weight', 'layer1.1.downsample.0.weight', 'fc.weights', 'layer5.0.bn1.bias', 'x']
)
def test_what_has_no_rule_is_named(write, name):
    path, _ = write({**iresnet(UNITS['iresnet18']), name: (1,)})
    assert message(path) == f'{path} is not an iresnet of arcface_torch: there is no rule for {name!r}'


def test_other_networks_of_torch(write):
    path, _ = write({'layers.0.layers.0.weight': (64, 3, 3, 3), 'features.layers.1.0.weight': (64,)})
    assert "there is no rule for 'layers.0.layers.0.weight' and 1 more" in message(path)
    path, _ = write(
        {'conv1.weight': (64, 3, 3, 3), 'layer1.999999999999.conv1.weight': (1,), 'layer1.999.bn1.x': (1,)}
    )
    assert "there is no rule for 'layer1.999999999999.conv1.weight' and 1 more" in message(path)


@pytest.mark.parametrize(
    'name', ['conv1.weight', 'layer2.1.prelu.weight', 'features.weight', 'features.running_var']
)
def test_what_is_missing_is_named(write, name):
    shapes = iresnet(UNITS['iresnet18'])
    del shapes[name]
    path, _ = write(shapes)
    assert message(path) == f'{path} is not a complete iresnet of arcface_torch: missing {name!r}'


def test_a_unit_that_is_missing(write):
    shapes = {name: s for name, s in iresnet(UNITS['iresnet34']).items() if not name.startswith('layer3.2.')}
    path, _ = write(shapes)
    assert "missing 'layer3.2.bn1.weight' and 14 more" in message(path)


def test_another_shape_is_named(write):
    path, _ = write({**iresnet(UNITS['iresnet18']), 'layer2.0.conv1.weight': (128, 64, 1, 1)})
    assert 'stage2_unit1_conv1_weight (128, 64, 1, 1) instead of (128, 64, 3, 3)' in message(path)


def test_numbers_that_are_none(write):
    shapes = iresnet(UNITS['iresnet18'])
    path, _ = write(shapes, kinds={'layer1.0.bn1.bias': 'Long'})
    assert 'layer1.0.bn1.bias is of int64' in message(path)
    del shapes['bn2.running_var']
    for value in (np.full(512, np.nan, 'f4'), np.full(512, 1e300)):
        path, _ = write(shapes, {'bn2.running_var': value})
        assert 'bn2.running_var holds values that are not finite' in message(path)
    path, _ = write(shapes, {'bn2.running_var': np.full(512, 0.5)})
    assert (read_arcface_torch(path, SMALL)['bn1_moving_var'] == 0.5).all()
