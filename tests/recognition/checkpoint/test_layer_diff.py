"""What two networks with the same parameters compute differently is seen; what only is written otherwise is not."""

from __future__ import annotations

import pytest

from config import resolve
from config.errors import CheckpointError
from recognition.checkpoint.layer_diff import check_same_layers, describe, differences
from symbols import get_symbol

import mxnet as mx

SMALL = {'net_multiplier': 0.25, 'emb_size': 16}


def symbol(network='r18', **settings):
    return get_symbol(resolve(network, **{**SMALL, **settings}))


@pytest.mark.parametrize(
    ('network', 'saved', 'own', 'words'),
    [
        ('r18', {'bn_eps': 1e-5}, {}, 'bn0 has eps 1e-05 instead of 2e-05 (and 30 more layers)'),
        ('r18', {'bn_eps': 1e-5}, {}, '; with bn_eps=1e-05 it is built so'),
        ('y1', {}, {'bn_eps': 1e-3}, 'fc1 has eps 2e-05 instead of 0.001'),
        ('r18', {'input_mean': 0.0}, {}, 'the input has 0.0 taken off every pixel instead of 127.5'),
        ('r18', {}, {'input_scale': 1 / 127.5}, 'has every pixel multiplied by 0.0078125 instead of 0.00784'),
        (
            'r18',
            {'input_order': 'bgr'},
            {},
            "in the order bgr instead of rgb; with input_order='bgr' it is built so",
        ),
        ('r18', {'input_mean': (1, 2, 3)}, {}, 'has (1.0, 2.0, 3.0) taken off every pixel instead of 127.5'),
        (
            'r18',
            {},
            {'input_scale': (1, 2, 4)},
            'every pixel multiplied by 0.0078125 instead of (1.0, 2.0, 4.0)',
        ),
        ('r18', {'net_act': 'relu'}, {'net_act': 'elu'}, 'relu0 is relu instead of elu of slope 1'),
        ('r18', {'net_act': 'elu'}, {'net_act': 'selu'}, 'relu0 is elu of slope 1 instead of selu'),
        ('r18', {'net_act': 'swish'}, {'net_act': 'gelu'}, 'relu0 is swish instead of gelu'),
        ('xception', {'padding': 'tf_same'}, {}, 'pads as tf_same instead of symmetric'),
        (
            'd2l_densenet',
            {},
            {'net_pool': 'avg'},
            'pool1 takes the max of the map instead of its avg; with net_pool',
        ),
        (
            'r18',
            {'net_unit': 1, 'net_input': 2},
            {'net_unit': 1, 'net_input': 2, 'bn_eps': 0.1},
            'bn_data has eps 2e-05',
        ),
    ],
)
def test_a_difference_is_named(network, saved, own, words):
    found = differences(symbol(network, **saved), symbol(network, **own))
    assert words in describe(found)
    with pytest.raises(CheckpointError, match=r'^a does not fit b: ') as caught:
        check_same_layers(symbol(network, **saved), symbol(network, **own), source='a', target='b')
    assert '\n' not in str(caught.value)


def article(side, **settings):
    return symbol('article_xception', image_shape=(side, side, 3), **settings)


def test_tensorflows_padding_is_the_same_setting_at_every_size():
    assert differences(article(48), article(49)) == differences(article(49), article(48)) == []
    for side in (48, 49):
        found = differences(article(48), article(side, padding='symmetric'))
        assert ('block1_conv1', 'padding', 'tf_same', 'symmetric') in found
        assert {difference.what for difference in found} == {'padding'}


@pytest.mark.parametrize('network', ['r18', 'd121', 'xception', 'y1', 'm05', 'mnas025'])
def test_momentum_and_dropout_are_no_difference(network):
    assert differences(symbol(network), symbol(network, bn_mom=0.5, densenet_dropout=0.0)) == []


def small(eps=2e-5, fix_gamma=False, stride=(1, 1), pixels=None, act='relu', names='{}'):
    """A network as InsightFace's symbols look."""
    data = mx.sym.identity(mx.sym.var('data'), name='id')
    data = (pixels or (lambda x: (x - 127.5) * 0.0078125))(data)
    x = mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), stride=stride, no_bias=True, name='conv0')
    gamma, beta, mean, var = (
        mx.sym.var(f'bn0_{part}') for part in ('gamma', 'beta', 'moving_mean', 'moving_var')
    )
    x = mx.sym.BatchNorm(x, gamma, beta, mean, var, eps=eps, fix_gamma=fix_gamma, name=names.format('bn0'))
    x = mx.sym.Activation(x, act_type=act, name=names.format('relu0'))
    return mx.sym.FullyConnected(x, num_hidden=8, name='fc1')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'eps': 1e-3}, 'bn0 has eps 0.001 instead of 2e-05'),
        ({'fix_gamma': True}, 'bn0 has fix_gamma=True instead of False'),
        ({'stride': (2, 2)}, 'conv0 has stride (2, 2) instead of (1, 1)'),
        ({'act': 'tanh'}, 'relu0 is tanh instead of relu'),
        ({'pixels': lambda x: x * 0.0078125}, 'the input has 0.0 taken off every pixel instead of 127.5'),
        ({'pixels': lambda x: (x - 127.5) / 127.5}, 'the input has every pixel multiplied by 0.0078'),
    ],
)
def test_nodes_are_matched_whatever_they_are_called(change, words):
    found = describe(differences(small(**change, names='{}_fwd'), small()))
    assert found.startswith(words)
    assert 'more' not in found


@pytest.mark.parametrize(
    'pixels',
    [
        lambda x: (x - 127.5) / 128,
        lambda x: x * 0.0078125 - 0.99609375,
        lambda x: (x + -127.5) * 2**-7,
        lambda x: mx.sym.reverse(mx.sym.reverse(x - 127.5, axis=1) * 2**-7, axis=(1,)),
        lambda x: mx.sym.image.normalize(x, mean=[127.5] * 3, std=[128] * 3),
    ],
)
def test_the_same_constants_in_other_words_are_no_difference(pixels):
    assert differences(small(pixels=pixels, names='{}_fwd'), small()) == []


def test_a_stride_of_1_need_not_be_written():
    assert differences(small(stride=()), small()) == differences(small(), small(stride=())) == []


def test_what_one_network_lacks_is_no_difference():
    assert differences(small(), mx.sym.FullyConnected(small(), num_hidden=2, name='top')) == []
    assert differences(symbol(), symbol(net_output='GAP')) == []
