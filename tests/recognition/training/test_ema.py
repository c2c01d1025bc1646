"""The moving average of a network's parameters."""

from __future__ import annotations

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.training.ema import Average

import mxnet as mx
from mxnet import gluon


def parameter(value):
    each = gluon.Parameter('w', shape=(2,))
    each.initialize(init=mx.init.Constant(value))
    return each


def test_it_is_the_average_of_its_formula_with_a_warm_up():
    each = parameter(1.0)
    average, expected = Average({'w': each}, 0.5, mx.cpu()), 1.0
    for count in range(1, 20):
        each.set_data(mx.nd.full((2,), count))
        average.update(count)
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * count
    np.testing.assert_allclose(average.values['w'].asnumpy(), expected, rtol=1e-6)
    assert (1 + 1) / (10 + 1) < 0.5 < (1 + 19) / (10 + 19)


def test_it_is_restored_and_another_networks_refused():
    average = Average({'w': parameter(3.0)}, 0.9, mx.cpu())
    other = Average({'w': parameter(0.0)}, 0.9, mx.cpu())
    other.restore(average.arrays(), source='a state')
    np.testing.assert_array_equal(other.values['w'].asnumpy(), [3, 3])
    with pytest.raises(CheckpointError, match=r'a state does not fit .* it differs in ema:w'):
        other.restore({'ema:w': np.zeros(3)}, source='a state')
