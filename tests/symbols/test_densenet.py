"""What is special to the DenseNets."""

from __future__ import annotations

import json

import pytest

from config import ConfigError, resolve
from config.presets import FAMILIES
from symbols import get_symbol, list_activations
from symbols.densenet import SPECS
from tests.helpers.families import spared_from_decay

import mxnet as mx

FACE = (1, 3, 112, 112)
DEPTHS = FAMILIES['densenet'].takes['num_layers']


def small(**overrides):
    return resolve('d121', **{'net_multiplier': 0.125, 'emb_size': 16, **overrides})


def operators(symbol):
    return {
        node['name']: (node['op'], node.get('attrs', {}))
        for node in json.loads(symbol.tojson())['nodes']
        if node['op'] != 'null'
    }


@pytest.mark.parametrize(
    ('depth', 'channels', 'layers'),
    [
        (121, 1024, (6, 12, 24, 16)),
        (161, 2208, (6, 12, 36, 24)),
        (169, 1664, (6, 12, 32, 32)),
        (201, 1920, (6, 12, 48, 32)),
    ],
)
def test_last_maps_and_layers_of_every_depth(depth, channels, layers):
    symbol = get_symbol(resolve('d121', num_layers=depth, net_output='bn_dropout'))
    assert symbol.infer_shape(data=FACE)[1] == [(1, channels, 7, 7)]
    names = operators(symbol)
    found = [
        sum(name.startswith(f'densenet0_stage{stage}_concat') for name in names) for stage in (1, 2, 3, 4)
    ]
    assert tuple(found) == layers == SPECS[depth].layers
    # Each layer has two convolutions; then there are the stem, three transitions and the classifier of the paper
    assert 2 * sum(layers) + 1 + 3 + 1 == depth


def test_names_of_the_parameters():
    symbol = get_symbol(small())
    arguments, states = symbol.list_arguments(), symbol.list_auxiliary_states()
    body = [name for name in arguments if name.startswith('densenet0_')]
    assert body[:7] == [
        'densenet0_conv0_weight',
        'densenet0_batchnorm0_gamma',
        'densenet0_batchnorm0_beta',
        'densenet0_stage1_batchnorm0_gamma',
        'densenet0_stage1_batchnorm0_beta',
        'densenet0_stage1_prelu0_alpha',
        'densenet0_stage1_conv0_weight',
    ]
    assert [n for n in body if 'stage' not in n][3:] == [
        *('densenet0_batchnorm1_gamma', 'densenet0_batchnorm1_beta', 'densenet0_prelu0_alpha'),
        'densenet0_conv1_weight',
        *('densenet0_batchnorm2_gamma', 'densenet0_batchnorm2_beta', 'densenet0_prelu1_alpha'),
        'densenet0_conv2_weight',
        *('densenet0_batchnorm3_gamma', 'densenet0_batchnorm3_beta', 'densenet0_prelu2_alpha'),
        'densenet0_conv3_weight',
        *('densenet0_batchnorm4_gamma', 'densenet0_batchnorm4_beta'),
    ]
    assert 'densenet0_stage4_conv31_weight' in body
    assert {n.rsplit('_', 2)[1] for n in states if n.startswith('densenet0_')} == {'running'}
    assert [n for n in states if not n.startswith('densenet0_')] == [
        *('bn1_moving_mean', 'bn1_moving_var', 'fc1_moving_mean', 'fc1_moving_var')
    ]


@pytest.mark.parametrize('activation', [name for name in list_activations() if name != 'relu'])
def test_the_first_and_the_last_activation_are_relu_whatever_net_act_says(activation):
    nodes = operators(get_symbol(small(net_act=activation)))
    body = {name: node for name, node in nodes.items() if name.startswith('densenet0_')}
    relus = [
        name
        for name, (op, attributes) in body.items()
        if op == 'Activation' and attributes['act_type'] == 'relu' and not name.endswith('_positive')
    ]
    assert relus == ['densenet0_relu0', 'densenet0_relu4']


@pytest.mark.parametrize(('activation', 'shape'), [('prelu', (1,)), ('prelu_channel', (16,))])
def test_slopes_are_shared_unless_the_channels_have_their_own(activation, shape):
    symbol = get_symbol(small(net_act=activation))
    shapes, _, _ = symbol.infer_shape(data=FACE)
    slopes = {n: s for n, s in zip(symbol.list_arguments(), shapes) if n.endswith('_alpha')}
    assert len(slopes) == 2 * (6 + 12 + 24 + 16) + 3
    assert slopes['densenet0_stage1_prelu1_alpha'] == shape


@pytest.mark.parametrize('rate', [0.0, 0.2])
def test_dropout_after_each_dense_layer_where_it_is_set(rate):
    nodes = operators(get_symbol(small(densenet_dropout=rate)))
    rates = [
        float(attributes['p'])
        for name, (op, attributes) in nodes.items()
        if op == 'Dropout' and name.startswith('densenet0_')
    ]
    assert rates == ([rate] * (6 + 12 + 24 + 16) if rate else [])


def test_a_dense_layer_appends_to_its_input():
    internals = get_symbol(small()).get_internals()
    _, shapes, _ = internals.infer_shape(data=FACE)
    shape = dict(zip(internals.list_outputs(), shapes))
    assert shape['densenet0_pool0_fwd_output'] == (1, 8, 56, 56)
    assert shape['densenet0_stage1_conv0_fwd_output'] == (1, 16, 56, 56)  # four growth rates
    assert shape['densenet0_stage1_conv1_fwd_output'] == (1, 4, 56, 56)
    assert shape['densenet0_stage1_concat0_output'] == (1, 12, 56, 56)
    assert shape['densenet0_stage1_concat5_output'] == (1, 32, 56, 56)
    assert shape['densenet0_pool1_fwd_output'] == (1, 16, 28, 28)


def test_settings_of_the_batch_norms():
    attributes = get_symbol(small(bn_mom=0.8)).attr_dict()
    norms = {name: a for name, a in attributes.items() if 'eps' in a}
    body = {name for name in norms if name.startswith('densenet0_')}
    assert {float(norms[name]['eps']) for name in body} == {1e-5}
    assert {float(norms[name]['eps']) for name in norms.keys() - body} == {2e-5}
    assert {float(a['momentum']) for a in norms.values()} == {0.8}
    assert all(name.endswith('_fwd') for name in body)


def test_weight_decay_is_gluons_in_the_body_and_insightfaces_in_the_head():
    assert spared_from_decay(get_symbol(small())) == {'bn1_beta', 'pre_fc1_bias', 'fc1_beta'}


@pytest.mark.parametrize('size', [(14, 112), (112, 14)])
def test_images_under_15_pixels_are_too_small(size):
    with pytest.raises(ConfigError, match="is too small for net_name='fdensenet'"):
        get_symbol(small(image_shape=(*size, 3)))
    symbol = get_symbol(small(image_shape=(15, 15, 3)))
    assert symbol.infer_shape(data=(2, 3, 15, 15))[1] == [(2, 16)]


def test_dropout_changes_training_alone(make_network, make_images):
    net = make_network(small(densenet_dropout=0.5, net_output='fc', image_shape=(32, 32, 3), bn_mom=0))
    images = make_images((32, 32, 3))
    assert (net(images) == net(images)).asnumpy().all()
    with mx.autograd.record():
        first, second = net(images), net(images)
    assert (first != second).asnumpy().any()
