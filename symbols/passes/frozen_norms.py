"""Batch norms that keep their moving statistics in training, and normalise by them."""

from __future__ import annotations

from typing import Container

from symbols.ir.rewriter import Described, describe, rewrite

import mxnet as mx

FIXED = {'use_global_stats': 'True'}


def freeze_norms(symbol: mx.sym.Symbol, names: Container[str]) -> mx.sym.Symbol:
    """Return the symbol with the batch norms one of whose two statistics is in `names` as they are in inference."""
    graph = describe(symbol)
    nodes = graph['nodes']

    def is_frozen(node: Described) -> bool:
        return node['op'] == 'BatchNorm' and any(nodes[i]['name'] in names for i, *_ in node['inputs'][3:])

    for node in filter(is_frozen, nodes):
        node['attrs'] = {**node.get('attrs', {}), **FIXED}
    return rewrite(graph, {})
