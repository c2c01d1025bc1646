"""Pixels before a network's first layer."""

from __future__ import annotations

import numpy as np
import pytest

from config import ConfigError, resolve
from symbols import get_block, get_symbol
from symbols.audit import audit
from symbols.graph.operators import describe, read_network

import mxnet as mx

IMAGES = np.random.RandomState(0).randint(0, 256, (2, 3, 16, 16)).astype(np.float32)
MEAN, SCALE = (103.939, 116.779, 123.68), (0.0171, 0.0175, 0.25)
CASES = {  # settings, and the same by numpy of planes of red, green and blue
    'one number': ({'input_mean': 100.0, 'input_scale': 0.5}, lambda x: (x - 100) * 0.5),
    'means': ({'input_mean': MEAN, 'input_scale': 0.5}, lambda x: (x - column(MEAN)) * 0.5),
    'scales': ({'input_mean': 100.0, 'input_scale': SCALE}, lambda x: (x - 100) * column(SCALE)),
    'BGR': ({'input_order': 'bgr', 'input_mean': 0.0, 'input_scale': 0.5}, lambda x: x[:, ::-1] * 0.5),
    'means of BGR': (
        {'input_order': 'bgr', 'input_mean': MEAN, 'input_scale': SCALE},
        lambda x: (x[:, ::-1] - column(MEAN)) * column(SCALE),
    ),
}


def column(values):
    return np.reshape(values, (3, 1, 1))


def config(**settings):
    return resolve(
        'r18', net_multiplier=0.0625, image_shape=(16, 16, 3), net_output='fc', emb_size=8, **settings
    )


def first_layer(symbol):
    """Return the symbol of what the first convolution reads."""
    return symbol.get_internals()['conv0_output'].get_children()[0]


@pytest.mark.parametrize('name', CASES)
def test_pixels_and_channels(name):
    settings, by_numpy = CASES[name]
    symbol = mx.sym.load_json(get_symbol(config(**settings)).tojson())
    (found,) = first_layer(symbol).eval(data=mx.nd.array(IMAGES))
    np.testing.assert_allclose(found.asnumpy(), by_numpy(IMAGES), rtol=1e-6, atol=1e-5)
    whole, plain = (get_symbol(config(**each)) for each in (settings, {}))
    assert whole.list_arguments() == plain.list_arguments()


@pytest.mark.parametrize('name', CASES)
def test_the_gradient_of_an_image(name):
    settings, by_numpy = CASES[name]
    layer = first_layer(get_symbol(config(**settings)))
    gradient = mx.nd.zeros(IMAGES.shape)
    bound = layer.bind(mx.cpu(), {'data': mx.nd.array(IMAGES)}, args_grad={'data': gradient})
    bound.forward(is_train=True)
    bound.backward(mx.nd.array(IMAGES))
    # y = a x + b with the channels in another order: the gradient of y.g is a g with the channels put back
    factors = by_numpy(np.ones((1, 3, 1, 1))) - by_numpy(np.zeros((1, 3, 1, 1)))
    there = IMAGES * factors
    back = there[:, ::-1] if settings.get('input_order') else there
    np.testing.assert_allclose(gradient.asnumpy(), back, rtol=1e-6, atol=1e-5)


def test_a_block_normalises_as_its_symbol_does():
    cfg = config(**CASES['means of BGR'][0])
    net, plain = get_block(cfg), get_block(config(input_mean=0.0, input_scale=1.0))
    for each in (net, plain):
        mx.random.seed(1)
        each.initialize()
    normalised = (IMAGES[:, ::-1] - column(MEAN)) * column(SCALE)
    wanted = plain(mx.nd.array(normalised)).asnumpy()
    for _ in range(2):
        np.testing.assert_allclose(net(mx.nd.array(IMAGES)).asnumpy(), wanted, rtol=1e-4, atol=1e-6)
        net.hybridize()


def test_the_audit_and_the_picture_know_it():
    symbol = get_symbol(config(**CASES['means of BGR'][0]))
    shapes = {'data': (1, 3, 16, 16)}
    layers = audit(symbol, shapes).layers
    assert [(layer.operator, layer.flops) for layer in layers[:2]] == [
        ('reverse', 0),
        ('_image_normalize', 0),
    ]
    assert [describe(each) for each in read_network(symbol, shapes).operators[:3]] == [
        'input',
        'reverse',
        'normalise',
    ]


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (
            {'input_mean': MEAN},
            r'input_mean=\(103.939, .*\) is for images of 3 channels; image_shape=.* has 1$',
        ),
        ({'input_scale': SCALE}, r'input_scale=\(.*\) is for images of 3 channels'),
        ({'input_order': 'bgr'}, "input_order='bgr' is for images of 3 channels"),
    ],
)
def test_channels_that_an_image_does_not_have_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        resolve('r18', image_shape=(16, 16, 1), **settings)
