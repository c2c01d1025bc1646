"""The variables of a symbol that are labels or other data, and no parameters."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Mapping, Sequence, Set, Tuple

from symbols.ir.shapes import quiet

import mxnet as mx

Shape = Tuple[int, ...]
Nodes = Sequence[Dict[str, Any]]

# Inputs of an operator that carry data, whether or not the caller gave their shape: labels, indices, the starting state
# of an RNN. No gradient reaches any of them but the last.
DATA_SLOTS: Mapping[str, Tuple[int, ...]] = {
    'SoftmaxOutput': (1,),
    'LinearRegressionOutput': (1,),
    'LogisticRegressionOutput': (1,),
    'MAERegressionOutput': (1,),
    'SVMOutput': (1,),
    'softmax_cross_entropy': (1,),
    'CTCLoss': (1, 2, 3),
    'pick': (1,),
    'one_hot': (0,),
    'batch_take': (1,),
    'Embedding': (0,),
    'RNN': (2, 3),
    'SequenceMask': (1,),
    'SequenceLast': (1,),
    'SequenceReverse': (1,),
}
LABEL = 'label'  # how the names of labels end that Module and the iterators know by default


def label_names(nodes: Nodes) -> Set[str]:
    """Return the variables among described nodes that are labels or other data by the operators that read them.

    A label may be cut, cast or reshaped on its way. Whoever else reads it, as a margin does through `pick`, does not
    make it a parameter.
    """
    found = {node['name'] for node in nodes if node['op'] == 'null' and node['name'].endswith(LABEL)}
    for node in nodes:
        for slot in DATA_SLOTS.get(node['op'], ()):
            source = nodes[node['inputs'][slot][0]] if slot < len(node['inputs']) else {'inputs': []}
            while len(source['inputs']) == 1:
                source = nodes[source['inputs'][0][0]]
            if source.get('op') == 'null':
                found.add(source['name'])
    return found


def label_shapes(symbol: mx.sym.Symbol, nodes: Nodes, shapes: Mapping[str, Shape]) -> Dict[str, Shape]:
    """Return (N,), a value for each image, for the labels whose shape MXNet needs and does not infer.

    Where no such shapes complete it there are none. nodes: the described nodes of the symbol.
    """
    missing = label_names(nodes) & {*symbol.list_arguments()} - {*shapes}
    if not (missing and shapes):
        return {}
    unknown, batch = {*missing}, next(iter(shapes.values()))[:1]
    with quiet(), contextlib.suppress(mx.MXNetError):
        inferred = zip(symbol.list_arguments(), symbol.infer_shape_partial(**shapes)[0])
        unknown = {name for name, shape in inferred if name in missing and not (shape and all(shape))}
    found = dict.fromkeys(sorted(unknown), batch)
    with quiet(), contextlib.suppress(mx.MXNetError):
        if unknown and symbol.infer_shape(**shapes, **found)[1] is not None:
            return found
    return {}


def batch_variables(symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]]) -> Set[str]:
    """Return the variables beside the given ones whose first axis is the batch, as no parameter's is.

    They are found by doubling the first axis of the given shapes; none are where the graph fixes it.
    """
    one, two = ({name: (by * shape[0], *shape[1:]) for name, shape in shapes.items()} for by in (1, 2))
    with quiet(), contextlib.suppress(mx.MXNetError):
        single, double = (symbol.infer_shape_partial(**given)[0] for given in (one, two))
        pairs = zip(symbol.list_arguments(), single, double)
        return {name for name, a, b in pairs if name not in shapes and a and a[0] and b == (2 * a[0], *a[1:])}
    return set()
