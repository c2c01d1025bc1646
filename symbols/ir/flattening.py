"""Flattening before a dense layer: to (N, values), or to (N, values, 1, 1), which our dense layers read."""

from __future__ import annotations

from typing import Mapping

from symbols.ir.nodes import flag, read_attribute
from symbols.ir.rewriter import describe, replacement, rewrite

import mxnet as mx

FLAT = (0, -1, 1, 1)  # (N, values, 1, 1) in the words of MXNet's Reshape


def flattens(operator: str, attributes: Mapping[str, str]) -> bool:
    """Return whether an operator puts all values of an image on one axis, in their order."""
    return operator == 'Flatten' or (operator == 'Reshape' and read_attribute(attributes, 'shape') == FLAT)


def with_flatten(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return the symbol with a Flatten for each Reshape that only dense layers read, which compute the same of it."""
    graph = describe(symbol)
    nodes = graph['nodes']
    kept = {entry[0] for entry in graph['heads']}
    for node in nodes:
        if node['op'] != 'FullyConnected' or not flag(node['attrs'], 'flatten', True):
            kept.update(entry[0] for entry in node['inputs'])
    found = {i for i, node in enumerate(nodes) if flattens(node['op'], node.get('attrs', {}))}
    flats = {i: replacement('Flatten', nodes[i]['name'], nodes[i]['inputs'][:1]) for i in found - kept}
    return rewrite(graph, flats)
