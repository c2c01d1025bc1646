"""Every layer and parameter of a network has a name of its own, or the network is refused in one sentence."""

from __future__ import annotations

import pytest

from config import ConfigError
from symbols import get_block, get_symbol, network
from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.heads import HEADS
from symbols.layers import GLUON_NORM, BatchNorm, Conv, Dense, Norm, Operator
from tests.helpers.families import small

import mxnet as mx
from mxnet.gluon import HybridBlock, nn

WIDTH = 4
BODY, HEAD = "the backbone 'mobilenet'", "the head 'bn_dropout_fc_bn'"


class Split(HybridBlock):
    """A node with two outputs."""

    def hybrid_forward(self, F, x):
        first, second = F.SliceChannel(x, num_outputs=2, name='halves')
        return F.concat(first, second, dim=1, name='joined')


def stack(*layers):
    net = nn.HybridSequential(prefix='')
    net.add(Conv('first', 3, WIDTH, 3, stride=2), *layers)
    return net


@pytest.fixture
def build(monkeypatch):
    """Return a function: builder, layers of a backbone -> what get_symbol or get_block makes of them."""

    def make(builder, *layers, **settings):
        monkeypatch.setitem(BACKBONES._builders, 'mobilenet', lambda cfg: stack(*layers))
        return builder(small('mobilenet', **{'net_output': 'E', **settings}))

    BACKBONES.get('mobilenet')
    return make


def norm(name, **settings):
    return BatchNorm(name, WIDTH, Norm(**settings))


@pytest.mark.parametrize('builder', [get_symbol, get_block])
@pytest.mark.parametrize(
    ('layers', 'sentence'),
    [
        ([norm('bn1')], f"{BODY} and {HEAD} both have a layer named 'bn1'; rename one of them"),
        (
            [Conv('bn1', WIDTH, WIDTH, 1)],
            f"{BODY} and {HEAD} both have a layer named 'bn1'; rename one of them",
        ),
        (
            [BatchNorm('bn1', WIDTH, GLUON_NORM)],
            f"{BODY} and {HEAD} both have a parameter named 'bn1_gamma'; rename one of them",
        ),
        (
            [norm('a'), norm('a')],
            f"{BODY} has two layers named 'a'; each needs a name of its own",
        ),
        (
            [norm('a'), norm('a', node='{}_fwd', statistics='running')],
            f"{BODY} has two parameters named 'a_gamma'; each needs a name of its own",
        ),
        (
            [
                Operator('pool', 'Activation', act_type='relu'),
                Operator('pool', 'Activation', act_type='tanh'),
            ],
            f"{BODY} has two layers named 'pool'; each needs a name of its own",
        ),
        ([norm('data')], f"{BODY} has a layer named 'data', which is the name of the input; rename it"),
        (
            [Conv('fc7', WIDTH, WIDTH, 1)],
            f"{BODY} has a layer named 'fc7', which is the name of training's classifier; rename it",
        ),
    ],
)
def test_two_layers_with_one_name_are_refused_with_their_owners(build, builder, layers, sentence):
    with pytest.raises(ConfigError) as caught:
        build(builder, *layers)
    assert str(caught.value) == sentence


def test_a_layer_that_is_used_twice_is_refused(build):
    layer = Conv('again', WIDTH, WIDTH, 1)
    with pytest.raises(ConfigError, match="has two layers named 'again'"):
        build(get_symbol, layer, layer)


def test_a_node_with_several_outputs_is_one_layer(build):
    assert build(get_symbol, Split(), norm('a')).list_outputs() == ['fc1_output']


def test_the_names_of_a_head_may_be_used_where_another_head_is(build):
    assert build(get_symbol, norm('bn1'), net_output='fc').list_outputs() == ['fc1_output']


def test_a_head_with_two_layers_of_one_name_is_refused(build, monkeypatch):
    head = nn.HybridSequential(prefix='')
    head.add(Operator('flat', 'Flatten'), Operator('flat', 'Flatten'))
    monkeypatch.setitem(HEADS._builders, 'fc', lambda spec: head)
    with pytest.raises(ConfigError, match=r"^the head 'fc' has two layers named 'flat'; each needs"):
        build(get_symbol, net_output='H')


def test_layers_that_do_not_fit_each_other_are_not_taken_for_a_small_image(build):
    with pytest.raises(
        ConfigError, match=r"^the layers of net_name='fmobilenet' do not fit each other: .* second"
    ):
        build(get_symbol, Conv('second', WIDTH + 1, WIDTH, 1))


@pytest.mark.parametrize(
    ('last', 'shapes'),
    [
        (Operator('flat', 'Flatten'), r'\(1, 24\)'),
        (Operator('halves', 'SliceChannel', num_outputs=2), r'\(1, 2, 2, 3\), \(1, 2, 2, 3\)'),
    ],
)
def test_a_backbone_must_end_in_one_feature_map(build, last, shapes):
    words = f"^net_name='fmobilenet' must end in one feature map \\(N, C, H, W\\), and gives {shapes}$"
    with pytest.raises(ConfigError, match=words):
        build(get_symbol, last, image_shape=(4, 6, 3))


def test_prelu_and_a_layer_behind_it_have_names_apart():
    parts = {'the part': stack(Act('prelu')('relu', WIDTH), Dense('relu_fc', WIDTH, 2))(mx.sym.var('data'))}
    network.check_names(parts)
