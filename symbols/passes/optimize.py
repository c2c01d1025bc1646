"""A network rewritten for inference: the same embedding with fewer operators, and those a CPU is quick at.

Dropout goes, batch norms go into the layers beside them (`fold_batch_norm`), what is left of them has the gamma
that it uses, and each PReLU has the form that its slopes allow. The result is an ordinary symbol with its values.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np

from symbols.ir.nodes import list_nodes
from symbols.ir.rewriter import Draft, Entry, Moved, Rule, describe, replacement, rewrite
from symbols.passes.fold_batch_norm import fold_norms
from symbols.passes.prelu import Prelu, as_operators, by_batch_norms, find_prelus

import mxnet as mx

Values = Dict[str, np.ndarray]
MAP_AXES = 4  # of a feature map, which the fast forms are for


def optimize(
    symbol: mx.sym.Symbol,
    values: Mapping[str, np.ndarray],
    shapes: Mapping[str, Sequence[int]],
    *,
    for_mxnet: bool = False,
) -> Tuple[mx.sym.Symbol, Values]:
    """Return a symbol that computes the same as `symbol` with `values` in fewer steps, and its values, float32 by name.

    values: numpy arrays of all parameters and auxiliary states by name. shapes: of the inputs, as for `list_nodes`.
    A PReLU whose slopes are all alike becomes a LeakyReLU with that constant. Another one stays the operator
    LeakyReLU(act_type='prelu'), or with `for_mxnet` takes a form that MXNet runs faster; other runtimes do not.
    Equal but for float32's rounding; what it is off by on images, `export_optimized` tells.
    """
    folded, held = fold_norms(symbol, values, shapes)
    simple, held = _with_constant_slopes(folded, held)
    return _for_mxnet(simple, held, shapes) if for_mxnet else (simple, held)


def _with_constant_slopes(symbol: mx.sym.Symbol, values: Values) -> Tuple[mx.sym.Symbol, Values]:
    """Return the symbol with a constant where all slopes of a PReLU are alike, and else with PReLU as one operator."""
    graph = describe(as_operators(symbol))
    rules: Dict[int, Rule] = {}
    for number, prelu in find_prelus(graph).items():
        slopes = values[graph['nodes'][prelu.slopes[0]]['name']]
        if np.ptp(slopes) == 0:
            leaky = {'act_type': 'leaky', 'slope': repr(float(slopes.flat[0]))}
            rules[number] = replacement('LeakyReLU', prelu.name, [prelu.data], **leaky)
    return _fitting(rewrite(graph, rules), values)


def _for_mxnet(
    symbol: mx.sym.Symbol, values: Values, shapes: Mapping[str, Sequence[int]]
) -> Tuple[mx.sym.Symbol, Values]:
    """Return the symbol with each PReLU of feature maps as operators that keep oneDNN's blocked layout.

    Two depthwise convolutions, a * x + max(0, (1 - a) * x), where no slope is above 1: oneDNN does the maximum and the
    sum within them. Else two batch norms, which do not ask that.
    """
    graph, nodes = describe(symbol), list_nodes(symbol, shapes)
    rules: Dict[int, Rule] = {}
    constants: Values = {}
    for number, prelu in find_prelus(graph).items():
        shape = nodes[number].output_shapes[0]
        slopes = values[nodes[prelu.slopes[0]].name]
        if len(shape) != MAP_AXES:
            continue
        if slopes.max() <= 1:
            rules[number] = _depthwise(prelu, shape[1])
            constants.update(_filters(prelu, np.broadcast_to(slopes, shape[1:2])))
        else:
            rules[number], own = by_batch_norms(prelu, channels=shape[1], slopes=len(slopes))
            constants.update(own)
    return _fitting(rewrite(graph, rules), {**values, **constants})


def _depthwise(prelu: Prelu, channels: int) -> Rule:
    names = list(_filters(prelu, np.empty(0)))

    def put(draft: Draft, moved: Moved) -> Entry:
        x = moved(prelu.data)
        parts: List[Entry] = []
        for name in names:
            parts.append(
                draft.operator(
                    'Convolution',
                    name.rpartition('_')[0],
                    [x, draft.variable(name, {})],
                    kernel='(1, 1)',
                    num_filter=str(channels),
                    num_group=str(channels),
                    no_bias='True',
                )
            )
        positive = draft.operator('Activation', f'{prelu.name}_positive', parts[1:], act_type='relu')
        return draft.operator('elemwise_add', prelu.name, [parts[0], positive])

    return put


def _filters(prelu: Prelu, slopes: np.ndarray) -> Values:
    """Return the weights of both convolutions: the slopes, and what is left of them to 1."""
    parts = {'whole': slopes, 'rest': 1 - slopes}
    return {f'{prelu.name}_{part}_weight': each.reshape(-1, 1, 1, 1) for part, each in parts.items()}


def _fitting(symbol: mx.sym.Symbol, values: Values) -> Tuple[mx.sym.Symbol, Values]:
    """Return the symbol with those of the values that it reads."""
    inputs = set(symbol.list_inputs())
    return symbol, {name: np.asarray(value, np.float32) for name, value in values.items() if name in inputs}
