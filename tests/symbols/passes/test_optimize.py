"""The rewrite for inference gives the network's own embedding, whatever the family, head, activation and values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from config import network, resolve
from symbols import get_symbol, list_activations, list_heads
from symbols.passes.optimize import optimize
from symbols.passes.prelu import as_operators
from tests.helpers.rewritten import assert_same, draw, operators, run

ROOT = Path(__file__).resolve().parents[3]
QUICK = ('r18', 'd121', 'xception', 'y1', 'm05', 'mnas025')  # a preset for each family


def small(preset, **settings):
    """Return the config of a preset, narrow where the family can be."""
    for multiplier in (0.25, 0.5, 1.0):
        try:
            cfg = resolve(preset, net_multiplier=multiplier, **settings)
            get_symbol(cfg)
        except ValueError:
            continue
        return cfg
    raise AssertionError(preset)


def shape_of(cfg):
    height, width, channels = cfg.image_shape
    return 2, channels, height, width


@pytest.mark.parametrize(
    'preset', [pytest.param(each, marks=[] if each in QUICK else pytest.mark.slow) for each in network]
)
def test_every_network_stays_what_it_is(preset):
    cfg = small(preset)
    assert_same(get_symbol(cfg), shape_of(cfg))


@pytest.mark.parametrize('head', list_heads())
def test_every_head_stays_what_it_is(head):
    symbol = get_symbol(small('r18', net_output=head))
    for form in assert_same(symbol):
        assert form.list_outputs() == symbol.list_outputs() or head == 'bn_dropout'


@pytest.mark.parametrize('activation', list_activations())
def test_every_activation_stays_what_it_is(activation):
    assert_same(get_symbol(small('r18', net_act=activation)))


@pytest.mark.parametrize(
    'settings', [{'net_unit': 1}, {'net_unit': 2}, {'net_se': 1}, {'net_input': 0}, {'net_input': 2}]
)
def test_every_kind_of_residual_network_stays_what_it_is(settings):
    assert_same(get_symbol(small('r18', **settings)))


def test_one_batch_norm_of_a_resnet_is_left():
    """The first unit's: what comes before is no sum, and its convolution pads."""
    symbol = get_symbol(small('r50'))
    assert operators(symbol)['BatchNorm'] == 79
    for form in assert_same(symbol):
        found = operators(form)
        assert found['BatchNorm'] == 1
        assert found['Dropout'] == found['_mul_scalar'] == 0


@pytest.mark.parametrize(
    ('preset', 'left'), [('d121', 62), ('xception', 0), ('y1', 0), ('m1', 0), ('mnas', 0)]
)
def test_batch_norms_left(preset, left):
    symbol = get_symbol(small(preset))
    values = draw(symbol, (1, 3, 112, 112))
    assert operators(optimize(symbol, values, {'data': (1, 3, 112, 112)})[0])['BatchNorm'] == left


def test_slopes_that_are_alike_become_a_constant():
    for form in assert_same(get_symbol(resolve('d121', net_multiplier=0.25))):  # one slope a layer
        found = [node for node in json.loads(form.tojson())['nodes'] if node['op'] == 'LeakyReLU']
        assert len(found) == 119
        assert {node['attrs']['act_type'] for node in found} == {'leaky'}
        assert not any('slope' in name or 'alpha' in name for name in form.list_arguments())


@pytest.mark.parametrize(('slopes', 'operator'), [((-0.5, 1.0), 'Convolution'), ((0.0, 3.0), 'BatchNorm')])
def test_form_of_prelu_goes_by_its_slopes(slopes, operator):
    plain, fast = assert_same(get_symbol(resolve('r18', net_multiplier=0.25)), slopes=slopes)
    prelus = operators(plain)['LeakyReLU']
    assert prelus == 9
    assert operators(fast)['LeakyReLU'] == 0
    assert operators(fast)[operator] == operators(plain)[operator] + 2 * prelus


def test_without_onednn_the_values_are_the_same():
    """A process of its own, since mxnet reads the setting once."""
    tests = 'test_form_of_prelu_goes_by_its_slopes or test_only_what_may_be_folded_is'
    files = [__file__, __file__.replace('.py', '_graphs.py')]
    settings = {'MXNET_MKLDNN_ENABLED': '0', 'OMP_NUM_THREADS': '1'}
    subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *files, '-k', tests],
        check=True,
        cwd=ROOT,
        env={**os.environ, **settings},
    )


def test_prelu_of_insightface_is_found():
    """Its symbols hold the operator, not the four of a network here."""
    symbol = get_symbol(resolve('r18', net_multiplier=0.25))
    shape = (2, 3, 112, 112)
    values = draw(symbol, shape)
    one, other = (
        optimize(each, values, {'data': shape}, for_mxnet=True) for each in (symbol, as_operators(symbol))
    )
    images = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    np.testing.assert_array_equal(run(*one, images), run(*other, images))
