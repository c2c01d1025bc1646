"""One set of numbers in every form of a network: as a block, hybridised, as a symbol, and loaded again."""

from __future__ import annotations

import numpy as np
import pytest

from symbols import get_symbol, list_activations, list_backbones
from tests.helpers.families import assert_output, families_and_heads, in_turn, small
from tests.helpers.narrow import LARGER_FAMILIES

import mxnet as mx
from mxnet.gluon import SymbolBlock


def forward(symbol, images, arguments, states):
    """Return the output of a symbol bound to some values."""
    executor = symbol.simple_bind(mx.cpu(), data=images.shape, grad_req='null')
    executor.copy_params_from(arguments, states)
    return executor.forward(is_train=False, data=images)[0].asnumpy()


def every_form(net, symbol, images, prefix):
    """Return what a network with values gives as a block, as `symbol`, and exported and loaded again."""
    outputs = {'imperative': net(images).asnumpy()}
    net.hybridize()
    outputs['hybridised'] = net(images).asnumpy()

    values = {name: parameter.data() for name, parameter in net.collect_params().items()}
    states = {name: values[name] for name in symbol.list_auxiliary_states()}
    arguments = {name: value for name, value in values.items() if name not in states}
    assert set(arguments) == set(symbol.list_arguments()) - {'data'}
    outputs['symbol'] = forward(symbol, images, arguments, states)

    net.export(prefix)
    imported = SymbolBlock.imports(f'{prefix}-symbol.json', ['data'], f'{prefix}-0000.params')
    outputs['SymbolBlock.imports'] = imported(images).asnumpy()
    loaded, arguments, states = mx.model.load_checkpoint(prefix, 0)
    outputs['load_checkpoint'] = forward(loaded, images, arguments, states)
    return outputs


def assert_equal_outputs(outputs):
    expected = outputs['imperative']
    assert np.isfinite(expected).all()
    assert np.abs(expected).max() > 1e-3
    assert np.ptp(expected, axis=0).max() > 1e-3  # the images of a batch differ
    for form, output in outputs.items():
        error = np.abs(output - expected).max()
        # what rounding there is grows in the batch norms, which see two images
        assert error <= 5e-5 * np.abs(expected).max(), f'{form} is off by {error}'


@pytest.mark.parametrize(
    ('family', 'head'), list(families_and_heads(['bn_dropout_fc_bn', 'gnap', 'sepconv_fc_bn']))
)
def test_one_set_of_numbers_for_every_head(family, head, make_network, make_images, tmp_path):
    cfg = small(family, net_output=head)
    images = make_images(cfg.image_shape)
    symbol = get_symbol(cfg)
    assert_output(symbol, cfg)
    assert_equal_outputs(every_form(make_network(cfg), symbol, images, str(tmp_path / 'net')))


@pytest.mark.parametrize(
    ('family', 'activation'), list(in_turn(list_backbones(), list_activations(), also=['prelu']))
)
def test_one_set_of_numbers_for_every_activation(family, activation, make_network, make_images, tmp_path):
    # A batch norm of two embeddings at the end enlarges what the smallest maps lose to rounding.
    head = 'fc' if family in LARGER_FAMILIES else 'gap_fc_bn'
    cfg = small(family, net_act=activation, net_output=head)
    net, images = make_network(cfg), make_images(cfg.image_shape)
    imperative = net(images).asnumpy()
    net.hybridize(static_alloc=True, static_shape=True)
    assert_equal_outputs({'imperative': imperative, 'static': net(images).asnumpy()})


def test_activations_differ(make_network, make_images):
    outputs = {}
    for activation in list_activations():
        cfg = small('resnet', net_act=activation, net_output='gap_fc_bn')
        outputs[activation] = make_network(cfg)(make_images(cfg.image_shape)).asnumpy()
    outputs.pop('prelu_channel')  # in a ResNet prelu has a slope for each channel, too
    distances = [np.abs(a - b).max() for i, a in outputs.items() for j, b in outputs.items() if i < j]
    assert min(distances) > 1e-5


@pytest.mark.parametrize('emb_size', [32, 64, 128])  # the map has 64 channels
def test_one_set_of_numbers_for_every_gnap(emb_size, make_network, make_images, tmp_path):
    cfg = small('resnet', net_output='gnap', emb_size=emb_size)
    images = make_images(cfg.image_shape)
    assert_equal_outputs(every_form(make_network(cfg), get_symbol(cfg), images, str(tmp_path / 'net')))


@pytest.mark.parametrize('family', list_backbones())
def test_a_network_takes_any_batch_size_and_the_symbol_too(family, make_network, make_images):
    cfg = small(family)
    net = make_network(cfg)
    net.hybridize()
    images = make_images(cfg.image_shape, count=5)
    five = net(images).asnumpy()
    one = net(images[:1]).asnumpy()
    np.testing.assert_allclose(one, five[:1], rtol=0, atol=2e-5 * np.abs(five).max())
