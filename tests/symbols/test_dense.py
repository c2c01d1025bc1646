"""The dense connection, and the depths."""

from __future__ import annotations

import numpy as np
import pytest

from symbols.dense import DEPTHS, Append
from symbols.layers import Conv

import mxnet as mx


@pytest.mark.parametrize(('channels', 'growth'), [(16, 32), (5, 3), (16, 3)])
@pytest.mark.parametrize('hybrid', [False, True])
def test_new_features_come_after_the_input(channels, growth, hybrid):
    branch = Conv('conv', channels, growth, 3)
    block = Append('concat', branch, channels, growth)
    block.initialize(mx.init.Normal(1))
    block.hybridize(hybrid)
    x = mx.nd.array(np.random.RandomState(1).randn(2, channels, 5, 4))
    x.attach_grad()
    with mx.autograd.record():
        y = block(x)
    y.backward()
    assert y.shape == (2, channels + growth, 5, 4)
    np.testing.assert_array_equal(y[:, :channels].asnumpy(), x.asnumpy())
    np.testing.assert_allclose(y[:, channels:].asnumpy(), branch(x).asnumpy(), rtol=1e-5, atol=1e-5)
    kernel = branch.weight.data().asnumpy()
    middle = 1 + kernel.sum((0, 2, 3))  # of a pixel that every position of the kernel reads
    np.testing.assert_allclose(x.grad[0, :, 2, 2].asnumpy(), middle, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('depth', DEPTHS)
def test_depths_count_the_convolutions_and_the_classifier(depth):
    spec = DEPTHS[depth]
    assert 2 * sum(spec.layers) + len(spec.layers) + 1 == depth
    assert spec.init == 2 * spec.growth
