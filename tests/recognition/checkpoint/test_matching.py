"""What given values and a network's parameters say to each other, and what is loaded of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError
from recognition.checkpoint.matching import (
    Report,
    check_fit,
    compare,
    head_names,
    load_part,
    load_weights,
    parts_of,
    require,
)
from recognition.checkpoint.network import wrap_symbol
from symbols import get_block, get_symbol, list_heads

SMALL = {'net_multiplier': 0.0625, 'emb_size': 16, 'image_shape': (32, 32, 3)}


def config(network='r18', **settings):
    return resolve(network, **{**SMALL, **settings})


def values_of(cfg, seed=0, **changes):
    """Random values for every parameter of a network; None takes one out."""
    random = np.random.RandomState(seed)
    values = {n: random.rand(*p.shape).astype(np.float32) for n, p in get_block(cfg).collect_params().items()}
    values.update(changes)
    return {name: value for name, value in values.items() if value is not None}


def initialised(cfg):
    net = get_block(cfg)
    net.initialize()
    return net


def held_by(net):
    return {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()}


def test_a_dense_layer_for_images_of_another_size_has_a_hint():
    values = {'a_weight': np.ones((2, 9)), 'b_weight': np.ones((4, 3))}
    faults = compare({'a_weight': (2, 16), 'b_weight': (4, 3)}, values).faults
    assert faults.endswith('; with another --image-size HEIGHT,WIDTH (image_shape) it may fit')
    for wanted in ((3, 9), (3, 16), (2, 9, 1)):
        assert 'image-size' not in compare({'a_weight': wanted, 'b_weight': (4, 3)}, values).faults


def test_a_report_names_what_is_missing_extra_and_misshaped():
    wanted = {'a_weight': (2, 3), 'b_weight': (4,), 'c_weight': (5,)}
    report = compare(wanted, {'a_weight': np.ones((2, 3)), 'b_weight': np.ones(3), 'd_weight': np.ones(1)})
    assert report == Report(('a_weight',), ('c_weight',), ('d_weight',), {'b_weight': ((3,), (4,))})
    assert not report.ok
    assert (
        report.faults
        == 'it lacks c_weight; it has also d_weight; it differs in b_weight (3,) instead of (4,)'
    )
    lines = str(report).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ['loaded', '1'],
        ['missing', '1'],
        ['extra', '1'],
        ['misshaped', '1'],
    ]
    with pytest.raises(CheckpointError, match=r'^x does not fit y: it lacks c_weight'):
        require(report, source='x', target='y')
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.loaded = ()


def test_of_many_the_first_are_named():
    report = compare({f'p{i}_weight': (1,) for i in range(9)}, {})
    assert report.text().endswith('missing       9  p0_weight, p1_weight, p2_weight and 6 more')


@pytest.mark.parametrize('fault', ['missing', 'extra', 'misshaped'])
def test_each_fault_alone_is_one(fault):
    cfg = config()
    changes = {
        'missing': {'conv0_weight': None},
        'extra': {'other_weight': np.ones(1)},
        'misshaped': {'conv0_weight': np.ones((1, 3, 3, 3))},
    }
    net = initialised(cfg)
    before = held_by(net)
    with pytest.raises(CheckpointError):
        load_weights(net, values_of(cfg, **changes[fault]))
    after = held_by(net)
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    report = load_weights(net, values_of(cfg, **changes[fault]), strict=False)
    assert [name for name in ('missing', 'extra', 'misshaped') if getattr(report, name)] == [fault]


@pytest.mark.parametrize('kind', ['block', 'symbol', 'not initialised'])
def test_values_arrive_in_whatever_holds_the_network(kind):
    cfg = config()
    values = values_of(cfg)
    net = {
        'block': initialised,
        'symbol': lambda c: wrap_symbol(get_symbol(c)),
        'not initialised': get_block,
    }[kind](cfg)
    report = load_weights(net, {**values, 'fc7_weight': np.ones((3, 16))}, image_shape=cfg.image_shape)
    assert report.ok
    assert set(report.loaded) == set(values)
    loaded = held_by(net)
    assert [name for name in values if not np.array_equal(loaded[name], values[name])] == []


def test_what_does_not_fit_keeps_its_value():
    cfg = config()
    net = initialised(cfg)
    before = held_by(net)
    values = values_of(cfg, relu0_gamma=None, conv0_weight=np.ones((5, 3, 3, 3)))
    report = load_weights(net, values, strict=False)
    after = held_by(net)
    assert report.missing == ('relu0_gamma',)
    assert report.misshaped == {'conv0_weight': ((5, 3, 3, 3), (4, 3, 3, 3))}
    for name in after:
        expected = before if name in ('relu0_gamma', 'conv0_weight') else values
        assert np.array_equal(after[name], expected[name]), name


def test_values_of_which_nothing_fits_are_refused_in_any_case():
    with pytest.raises(CheckpointError, match='has nothing that fits the network: it lacks conv0_weight'):
        load_weights(get_block(config()), {'x_weight': np.ones(3)}, strict=False)


@pytest.mark.parametrize(('network', 'head'), [('m1', 'GDC'), ('d121', 'GDC'), ('d121', 'SFC')])
def test_insightfaces_heads_of_512_groups_come_with_the_setting_that_takes_them(network, head):
    for groups, other in ((512, None), (None, 512)):
        fitting, ours = (resolve(network, net_output=head, head_channels=each) for each in (groups, other))
        shapes = {name: p.shape for name, p in get_block(fitting).collect_params().items()}
        values = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
        with pytest.raises(CheckpointError, match=f'; with head_channels={groups} the head is built so'):
            check_fit(get_symbol(ours), values)
        check_fit(get_symbol(fitting), values)


def test_a_depthwise_convolution_of_another_width_has_no_hint_of_groups():
    wide, narrow = np.ones((128, 1, 7, 7)), (64, 1, 7, 7)
    faults = compare({'convf_weight': narrow}, {'convf_weight': wide}).faults
    assert faults == 'it differs in convf_weight (128, 1, 7, 7) instead of (64, 1, 7, 7)'
    assert 'head_channels' not in compare({'convf_weight': narrow}, {'convf_weight': np.ones(128)}).faults


def test_images_have_112_pixels_where_nothing_else_is_said():
    cfg = config(image_shape=(112, 112, 3))
    assert load_weights(wrap_symbol(get_symbol(cfg)), values_of(cfg)).ok
    check_fit(get_symbol(cfg), values_of(cfg))


def test_insightfaces_second_densenet_in_a_process_is_a_densenet_too():
    cfg = config('d121')
    values = values_of(cfg)
    counted = {name.replace('densenet0_', 'densenet1_'): value for name, value in values.items()}
    assert set(counted) != set(values)
    net = get_block(cfg)
    assert load_weights(net, counted).ok
    assert np.array_equal(held_by(net)['densenet0_conv0_weight'], values['densenet0_conv0_weight'])


@pytest.mark.parametrize(
    ('other', 'fresh'),
    [
        ({'net_output': 'GAP'}, {'relu1_gamma', 'bn1_gamma', 'pre_fc1_weight', 'fc1_beta'}),
        ({'emb_size': 8}, {'bn1_gamma', 'pre_fc1_weight', 'fc1_beta'}),
        ({'net_output': 'F'}, {'bn1_gamma', 'fc1_weight', 'fc1_bias'}),
        ({'net_output': 'GDC'}, {'conv_6dw7_7_conv2d_weight', 'fc1_beta'}),
        ({'image_shape': (48, 48, 3)}, {'bn1_gamma', 'pre_fc1_weight'}),
    ],
)
def test_the_body_is_loaded_whole_and_another_head_left_as_it_is(other, fresh):
    values, cfg = values_of(config()), config(**other)
    net = initialised(cfg)
    before = held_by(net)
    report = load_part(net, values, cfg, 'body')
    after, own = held_by(net), parts_of(cfg)
    assert set(report.loaded) == set(own.backbone)
    assert set(report.missing) == set(own.head)
    assert fresh <= set(own.head)
    assert set(report.extra) == set(values) - set(own.backbone)
    for name in after:
        expected = before if name in own.head else values
        assert np.array_equal(after[name], expected[name]), name


def test_a_body_that_does_not_fit_is_refused():
    cfg = config(net_output='GAP')
    for theirs in (config(num_layers=34), config(net_se=True), config(net_act='relu')):
        with pytest.raises(CheckpointError, match='does not fit the backbone of the network: it '):
            load_part(initialised(cfg), values_of(theirs), cfg, 'body')
    report = load_part(initialised(cfg), values_of(config(net_se=True)), cfg, 'fitting')
    assert {'relu1_gamma'} <= set(report.missing)
    assert {'stage1_unit1_se_conv1_weight'} <= set(report.extra)


@pytest.mark.parametrize('head', list_heads())
def test_the_parameters_of_every_head_are_known_as_such(head):
    for width in (16, 64):
        assert set(parts_of(config(net_output=head, emb_size=width)).head) <= head_names()
