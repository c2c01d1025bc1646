"""MXNet's own plot_network and print_summary take every network as it is, with the activation of its preset."""

from __future__ import annotations

import json
from itertools import product

import pytest

from config import network, resolve
from symbols import get_symbol, list_heads

import mxnet as mx


def presets_and_heads():
    """Yield every preset with every head; slow are those with a head that is not the preset's own."""
    for preset, head in product(network, list_heads()):
        own = head == resolve(preset).net_output
        yield pytest.param(preset, head, marks=[] if own else pytest.mark.slow)


@pytest.mark.parametrize(('preset', 'head'), list(presets_and_heads()))
def test_both_go_through(preset, head, capsys):
    cfg = resolve(preset, net_output=head, num_classes=9)
    height, width, channels = cfg.image_shape
    symbol = get_symbol(cfg)
    nodes = [node['name'] for node in json.loads(symbol.tojson())['nodes'] if node['op'] != 'null']

    mx.viz.print_summary(symbol, shape={'data': (1, channels, height, width)})
    printed = capsys.readouterr().out
    assert 'Total params: ' in printed
    cut = 40  # a name in the table's first column is not longer
    assert [name for name in nodes if name[:cut] not in printed] == []

    source = mx.viz.plot_network(symbol, shape={'data': (1, channels, height, width)}).source
    assert [name for name in nodes if name not in source] == []
