"""The trace of a network in MXNet."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from recognition.tracing.points import Point, Trace
from symbols.ir.nodes import list_nodes
from symbols.ir.rewriter import describe
from symbols.passes.prelu import as_operators

import mxnet as mx

INPUT = 'data'

Entry = Tuple[int, int]  # a node, and which of its outputs


def trace_symbol(symbol: mx.sym.Symbol, values: Mapping[str, Any], data: np.ndarray) -> Trace:
    """Run a symbol, whose input is called `data`, on float32 (N, C, H, W).

    values: its other variables by name, NDArray or numpy. A PReLU is one operator, however it is built.
    """
    symbol = as_operators(symbol)
    nodes = list_nodes(symbol, {INPUT: data.shape})
    # weights may be saved in float16, and a network reads float32, as `set_parameters` gives it
    arrays = {name: mx.nd.array(value, dtype='float32') for name, value in values.items()}
    arrays[INPUT] = mx.nd.array(data)
    entries = [(at, output) for at, node in enumerate(nodes) for output in range(len(node.output_shapes))]
    internals = symbol.get_internals()  # an output for each entry
    computed = [number for number, (at, _) in enumerate(entries) if not nodes[at].is_variable]
    group = mx.sym.Group([internals[number] for number in computed])
    # bound as an executor, it would be fused, and layers left out
    results = mx.nd.CachedOp(group)(*(arrays[name] for name in group.list_inputs()))
    places: Dict[Entry, int] = {(at, 0): 0 for at, node in enumerate(nodes) if node.name == INPUT}
    points: List[Point] = [Point(INPUT, '', (), np.asarray(data, np.float32))]
    for number, result in zip(computed, results):
        node = nodes[entries[number][0]]
        places[entries[number]] = len(points)
        read = tuple(places[entry] for entry in node.inputs if entry in places)
        constants = tuple(nodes[at].name for at, _ in node.inputs if nodes[at].name in values)
        points.append(Point(node.name, node.operator, read, result.asnumpy(), constants))
    heads = tuple(places[at, output] for at, output, *_ in describe(symbol)['heads'])
    return Trace(points, heads, {name: arrays[name].asnumpy() for name in values})
