"""Our networks inside somebody else's, and under their attributes and names."""

from __future__ import annotations

import numpy as np
import pytest

from symbols import get_block, get_symbol, list_backbones
from tests.helpers.families import data_shape, node_names, small

import mxnet as mx
from mxnet.gluon import HybridBlock


class Outer(HybridBlock):
    """Somebody else's network, with ours as a part of it."""

    def __init__(self, cfg):
        super().__init__()
        with self.name_scope():
            self.left = get_block(cfg)
            self.head = mx.gluon.nn.Dense(3)

    def hybrid_forward(self, F, x):
        return self.head(self.left(x))


@pytest.mark.parametrize('family', list_backbones())
def test_inside_somebody_elses_network(family, make_images):
    cfg = small(family, net_output='gap_fc_bn', net_act='prelu')
    outer = Outer(cfg)
    outer.initialize()
    images = make_images(cfg.image_shape)
    imperative = outer(images).asnumpy()
    outer.hybridize()
    np.testing.assert_allclose(outer(images).asnumpy(), imperative, rtol=1e-4, atol=1e-5)
    names = node_names(outer(mx.sym.var('data')))
    assert len(set(names)) == len(names)
    own = set(get_block(cfg).collect_params())
    assert {name[len(outer.prefix) :] for name in outer.left.collect_params()} == own


@pytest.mark.parametrize('family', list_backbones())
def test_under_somebody_elses_attributes_and_name_managers(family, make_images):
    cfg = small(family)
    plain = get_symbol(cfg)
    with mx.AttrScope(ctx_group='first'):
        grouped = get_symbol(cfg)
    assert node_names(grouped) == node_names(plain)
    assert grouped.attr_dict()['fc1']['ctx_group'] == 'first'
    with mx.name.NameManager():
        assert get_symbol(cfg).tojson() == plain.tojson()
    with mx.name.Prefix('left_'):
        prefixed = get_symbol(cfg)
    assert prefixed.list_arguments() == plain.list_arguments()
    assert_same_shapes(prefixed, plain, data_shape(cfg))


def assert_same_shapes(one, other, shape):
    assert one.infer_shape(data=shape) == other.infer_shape(data=shape)


def test_two_networks_in_one_symbol_share_their_parameters_by_name():
    cfg = small('resnet')
    net = get_block(cfg)
    left, right = net(mx.sym.var('left')), net(mx.sym.var('right'))
    both = mx.sym.Group([left, right])
    assert len(both.list_arguments()) == len(left.list_arguments()) + 1
