"""What is special to keras.applications' ResNets; their numbers are in test_keras.py."""

from __future__ import annotations

import re

import pytest

from config import ConfigError, resolve
from symbols import get_symbol
from symbols.keras_resnet import SPECS

IMAGE = (1, 3, 224, 224)


def attributes_of(**overrides):
    return get_symbol(resolve('keras_resnet50', **{'net_multiplier': 0.125, **overrides})).attr_dict()


@pytest.mark.parametrize('depth', SPECS)
def test_units_per_stage(depth, internal_shapes):
    shapes = internal_shapes(get_symbol(resolve('keras_resnet50', num_layers=depth)), IMAGE)
    units = [
        tuple(map(int, found.groups()))
        for found in map(re.compile(r'conv(\d)_block(\d+)_plus').match, shapes)
        if found
    ]
    expected = [
        (stage, unit) for stage, count in enumerate(SPECS[depth], start=2) for unit in range(1, count + 1)
    ]
    assert units == expected
    assert (
        3 * len(units) + 2 == depth
    )  # as He et al. count: three convolutions each, the stem, the classifier


@pytest.mark.parametrize(('preset', 'pooled'), [('keras_resnet50', 56), ('keras_resnet50_elu', 55)])
def test_shapes_of_the_stages(preset, pooled, internal_shapes):
    shapes = internal_shapes(get_symbol(resolve(preset, net_output='bn_dropout')), IMAGE)
    assert shapes['pool1_pool_output'] == (1, 64, pooled, pooled)
    ends = [shapes[f'conv{stage}_block3_out_output'][1:] for stage in (2, 3, 4, 5)]
    assert ends == [(256, pooled, pooled), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]


def test_the_first_convolution_of_a_unit_has_the_stride():
    attributes = attributes_of()
    strides = {part: attributes[f'conv3_block1_{part}_conv']['stride'] for part in (0, 1, 2, 3)}
    assert strides == {0: '(2, 2)', 1: '(2, 2)', 2: '(1, 1)', 3: '(1, 1)'}
    assert attributes['conv2_block1_1_conv']['stride'] == '(1, 1)'  # the pooling has halved before


@pytest.mark.parametrize(('variant', 'eps'), [(None, 1.001e-5), ('article', 1e-3)])
def test_variants_differ_in_eps_and_pooling(variant, eps):
    attributes = attributes_of(net_variant=variant)
    assert {float(a['eps']) for a in attributes.values() if 'eps' in a} == {eps}
    assert attributes['pool1_pool']['pad'] == ('(1, 1)' if variant is None else '(0, 0)')


def test_an_eps_of_the_users_choice_is_everywhere():
    attributes = attributes_of(bn_eps=1e-4, net_output='E')
    assert {float(a['eps']) for a in attributes.values() if 'eps' in a} == {1e-4}


def test_an_unpadded_pooling_needs_three_pixels():
    with pytest.raises(
        ConfigError, match="image_shape=\\(4, 4, 3\\) is too small for net_name='keras_resnet'"
    ):
        get_symbol(resolve('keras_resnet50_elu', image_shape=(4, 4, 3)))
    assert get_symbol(resolve('keras_resnet50_elu', image_shape=(5, 5, 3))).list_outputs() == ['fc1_output']
    assert get_symbol(resolve('keras_resnet50', image_shape=(1, 1, 3))).list_outputs() == ['fc1_output']


@pytest.mark.parametrize('preset', ['r50', 'd121', 'keras_densenet121', 'd2l_densenet'])
def test_families_without_variants_say_so(preset):
    with pytest.raises(ConfigError, match="net_variant='article' does not go with net_name"):
        resolve(preset, net_variant='article')
