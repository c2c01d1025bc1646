"""Checkpoints to export and read back."""

from __future__ import annotations

import pytest

from tests.helpers.narrow import write_network

import mxnet as mx


@pytest.fixture
def save(tmp_path, make_network):
    """Return a function: config -> prefix of a checkpoint whose variances are not so small that folding is coarse."""

    def write(cfg):
        net = make_network(cfg)
        for name, parameter in net.collect_params().items():
            if name.endswith('_var'):
                parameter.set_data(mx.nd.maximum(parameter.data(), 0.5))
        return write_network(net, tmp_path / 'model')

    return write
