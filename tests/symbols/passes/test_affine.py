"""Layers are read from a graph however MXNet and its bindings write truth and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from symbols.passes.affine import read_affine, read_linear

NAMES = ('data', 'gamma', 'beta', 'mean', 'variance')
VALUES = {name: np.array([2.0, 3.0], np.float32) for name in NAMES}


@pytest.mark.parametrize('fixed', ['True', 'true', '1', None])
def test_a_gamma_that_is_fixed_is_1(fixed):
    attributes = {'eps': '1.0', **({} if fixed is None else {'fix_gamma': fixed})}
    affine = read_affine({'op': 'BatchNorm', 'attrs': attributes}, NAMES, VALUES, (2,))
    np.testing.assert_allclose(affine.scale, 1 / np.sqrt([3, 4]))
    np.testing.assert_array_equal(affine.values()['gamma'], [1, 1])


@pytest.mark.parametrize('fixed', ['False', 'false', '0'])
def test_a_gamma_that_is_not(fixed):
    attributes = {'eps': '1.0', 'fix_gamma': fixed}
    affine = read_affine({'op': 'BatchNorm', 'attrs': attributes}, NAMES, VALUES, (2,))
    np.testing.assert_allclose(affine.scale, [2, 3] / np.sqrt([3, 4]))


@pytest.mark.parametrize('text', ['(0, 0)', '[0, 0]', '[0L, 0L]', '()', None])
def test_no_padding_is_seen_where_it_can_be_read(text):
    attributes = {} if text is None else {'pad': text}
    values = {'weight': np.ones((2, 2, 1, 1), np.float32)}
    layer = read_linear({'op': 'Convolution', 'name': 'a', 'attrs': attributes}, ('data', 'weight'), values)
    assert layer.padded == (text == '[0L, 0L]')  # what cannot be read is taken for padding, which folds less


@pytest.mark.parametrize(
    ('flatten', 'linear'), [('True', True), ('true', True), ('false', False), ('0', False)]
)
def test_only_a_dense_layer_that_flattens_is_one_of_channels(flatten, linear):
    node = {'op': 'FullyConnected', 'name': 'a', 'attrs': {'flatten': flatten}}
    found = read_linear(node, ('data', 'weight'), {'weight': np.ones((2, 2), np.float32)})
    assert (found is not None) == linear
