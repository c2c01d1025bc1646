from __future__ import annotations

import numpy as np

from tools.bench.saved import load_graph, load_values, save

import mxnet as mx


def test_a_network_is_read_as_it_was_saved(tmp_path):
    symbol = mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=2, name='fc1')
    values = {'fc1_weight': np.ones((2, 3), np.float32), 'fc1_bias': np.zeros(2, np.float32)}
    save(tmp_path / 'net.v1', symbol, values)
    found = load_values(tmp_path / 'net.v1')
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in values.items()
    }
    assert [node['name'] for node in load_graph(tmp_path / 'net.v1')['nodes']][-1] == 'fc1'
