"""The heads on a bare feature map: nodes, widths and what each computes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from config.presets import POOLING_HEADS
from symbols import list_heads
from symbols.activations import Act
from symbols.heads import HEADS, FeatureMap, HeadSpec, NormAwareScale
from symbols.layers import Norm
from tests.helpers.families import expected

import mxnet as mx

MAP = FeatureMap(6, 5, 4)


def build(name, emb_size=4, features=MAP, **settings):
    spec = HeadSpec(features, emb_size, num_classes=9, norm=Norm(), act=Act('prelu'), **settings)
    return HEADS.get(name)(spec)


def operators(head):
    """Return the operators of a head in their order, as name or name:operator."""
    nodes = json.loads(head(mx.sym.var('x')).tojson())['nodes']
    return [node['name'] for node in nodes if node['op'] != 'null']


FC_BN = ['pre_fc1_flatten', 'pre_fc1', 'fc1']
SEQUENCES = {
    'bn_dropout_fc_bn': ['bn1', 'dropout0', *FC_BN],
    'bn_fc_bn': ['bn1', *FC_BN],
    'bn_dropout_fc': ['bn1', 'dropout0', 'fc1_flatten', 'fc1'],
    'bn_fc': ['bn1', 'fc1_flatten', 'fc1'],
    'fc': ['fc1_flatten', 'fc1'],
    'fc_bn': FC_BN,
    'bn_dropout': ['bn1', 'dropout0'],
    'gap_fc_bn': ['bn1', 'relu1', 'pool1', *FC_BN],
    'gdc_fc_bn': ['conv_6dw7_7_conv2d', 'conv_6dw7_7_batchnorm', *FC_BN],
    'sepconv_fc_bn': ['bn1', 'convf', 'bnf', 'reluf', 'convf2', 'bnf2', 'reluf2', *FC_BN],
    'gnap': [
        *('bn6f', 'gnap_squared', 'gnap_sum', 'gnap_norm', 'gnap_mean', 'gnap_ratio', 'gnap_scaled'),
        *('gnap_pool', 'bn6w', *FC_BN),
    ],
    'classifier': ['pool1', 'fc1_flatten', 'fc1'],
    'pool': ['pool1', 'fc1'],
    'map': [],
}
PARTS_OF_PRELU = ('_positive', '_negative', '_slope', '_slopes', '_scaled')


def test_every_row_is_a_head():
    assert set(SEQUENCES) <= set(list_heads())


@pytest.mark.parametrize('name', list_heads())
def test_order_of_the_operators(name):
    found = [
        node
        for node in operators(build(name))
        if not node.startswith('relu') or not node.endswith(PARTS_OF_PRELU)
    ]
    assert found == expected(SEQUENCES, name)


@pytest.mark.parametrize('features', [FeatureMap(6, 1, 1), FeatureMap(3, 1, 7), FeatureMap(8, 2, 3), MAP])
@pytest.mark.parametrize('emb_size', [1, 6, 32])
@pytest.mark.parametrize('name', list_heads())
def test_every_head_reads_every_map(name, emb_size, features):
    head = build(name, emb_size, features)
    head.initialize()
    shape = head(mx.nd.ones((2, *features))).shape
    whole = (2, *features)
    other = {'bn_dropout': whole, 'map': whole, 'classifier': (2, 9), 'pool': (2, features.channels)}
    assert shape == other.get(name, (2, emb_size))


@pytest.mark.parametrize('name', list_heads())
def test_the_last_batch_norm_has_a_fixed_gamma(name):
    symbol = build(name)(mx.sym.var('x'))
    attributes = symbol.attr_dict().get('fc1', {})
    has_norm = 'eps' in attributes
    assert has_norm == (name.endswith('fc_bn') or name == 'gnap')
    assert not has_norm or (attributes['fix_gamma'], float(attributes['eps'])) == ('True', 2e-5)


def test_settings_of_the_norms():
    attributes = build('gdc_fc_bn')(mx.sym.var('x')).attr_dict()
    assert float(attributes['conv_6dw7_7_batchnorm']['eps']) == 1e-3
    assert attributes['conv_6dw7_7_batchnorm']['fix_gamma'] == 'False'
    attributes = build('gnap')(mx.sym.var('x')).attr_dict()
    assert attributes['bn6f']['fix_gamma'] == attributes['bn6w']['fix_gamma'] == 'True'
    attributes = build('bn_dropout')(mx.sym.var('x')).attr_dict()
    assert attributes['bn1']['fix_gamma'] == 'False'
    assert float(attributes['dropout0']['p']) == 0.4


@pytest.mark.parametrize('name', ['gdc_fc_bn', 'sepconv_fc_bn'])
@pytest.mark.parametrize('channels', [5, 512, 1024])
def test_depthwise_convolutions_have_a_group_for_each_channel(name, channels):
    symbol = build(name, features=FeatureMap(channels, 7, 7))(mx.sym.var('x'))
    node = 'convf' if name == 'sepconv_fc_bn' else 'conv_6dw7_7_conv2d'
    assert int(symbol.attr_dict()[node]['num_group']) == channels
    shapes, _, _ = symbol.infer_shape(x=(1, channels, 7, 7))
    assert dict(zip(symbol.list_arguments(), shapes))[f'{node}_weight'][:2] == (channels, 1)


def test_the_depthwise_convolution_of_gdc_covers_the_whole_map():
    assert build('gdc_fc_bn').collect_params()['conv_6dw7_7_conv2d_weight'].shape == (6, 1, 5, 4)


@pytest.mark.parametrize('hybrid', [False, True])
def test_norm_aware_scale_by_its_formula(hybrid):
    x = np.random.RandomState(0).randn(3, 6, 5, 4)
    block = NormAwareScale()
    if hybrid:
        block.hybridize()
    norms = np.sqrt((x**2).sum(1, keepdims=True))
    y = block(mx.nd.array(x)).asnumpy()
    np.testing.assert_allclose(y, x * norms.mean() / norms, rtol=1e-5)
    # every position then has the same norm
    np.testing.assert_allclose(np.sqrt((y**2).sum(1)), norms.mean(), rtol=1e-5)


def test_dropout_is_only_there_in_training():
    head = build('bn_dropout', features=FeatureMap(4, 10, 10))
    head.initialize()
    x = mx.nd.ones((1, 4, 10, 10))
    assert (head(x).asnumpy() != 0).all()
    with mx.autograd.record(train_mode=True):
        x = mx.nd.random.normal(shape=(8, 4, 10, 10))
        dropped = (head(x).asnumpy() == 0).mean()
    assert 0.35 < dropped < 0.45


@pytest.mark.parametrize('pool', ['avg', 'max'])
def test_the_classifier_is_a_pooling_and_a_product_and_pool_the_first_alone(pool):
    x = np.random.RandomState(0).randn(2, *MAP)
    pooled = {'avg': x.mean, 'max': x.max}[pool]((2, 3))
    head = build('classifier', pool=pool)
    head.initialize(mx.init.Normal(1))
    weight = head.collect_params()['fc1_weight'].data().asnumpy()
    np.testing.assert_allclose(head(mx.nd.array(x)).asnumpy(), pooled @ weight.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(build('pool', pool=pool)(mx.nd.array(x)).asnumpy(), pooled, rtol=1e-5)


@pytest.mark.parametrize('name', list_heads())
def test_which_heads_read_the_pooling(name):
    average, maximum = (build(name, pool=pool)(mx.sym.var('x')).tojson() for pool in ('avg', 'max'))
    assert (average != maximum) == (name in POOLING_HEADS)


def test_the_map_is_given_as_it_is():
    x = mx.nd.array(np.random.RandomState(0).randn(2, *MAP))
    head = build('map')
    assert list(head.collect_params()) == []
    np.testing.assert_array_equal(head(x).asnumpy(), x.asnumpy())


@pytest.mark.parametrize(('emb_size', 'widened'), [(512, False), (513, True), (1024, True), (1025, True)])
def test_gnap_has_its_convolution_above_512_on_every_map_as_insightfaces(emb_size, widened):
    names = build('gnap', emb_size, FeatureMap(1024, 7, 7)).collect_params()
    assert ('convx_weight' in names, 'pre_fc1_weight' in names) == (widened, not widened)
