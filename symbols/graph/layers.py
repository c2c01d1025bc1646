"""A network layer by layer as articles and Keras count them: operators that compute one layer together are one row.

One row are a Swish or a SELU of several operators; a convolution or a pooling with what pads it (a Pad, or the
mirroring that gives TensorFlow's padding); a separable convolution's two halves, with nothing between them; a dense
layer and a global pooling with their Flatten; whatever normalises the input. Any other operator is a row of its own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from symbols.audit.core import VARIABLE, Audit
from symbols.graph.operators import ADDITIONS, JOINTS, PRODUCTS, Network, Operator, activation_name, composite
from symbols.graph.sections import common_label
from symbols.graph.subtotals import Subtotal, read_audited
from symbols.ir.nodes import Shape, flag
from symbols.ir.prelu_forms import PRELU

import mxnet as mx

LAYER = 'layer'  # the level, beside STAGE and BLOCK
WINDOWED = frozenset(['Convolution', 'Deconvolution', 'Pooling'])
SIDEWAYS = {2, 3}  # axes of (N, C, H, W) along which padding mirrors
ELEMENTWISE_ACTIVATIONS = frozenset(
    ['Activation', 'LeakyReLU', PRELU, 'relu', 'sigmoid', 'tanh', 'hard_sigmoid', 'softsign']
)
PIXELWISE = frozenset(  # what normalises an input
    [
        *(
            '_minus_scalar',
            '_plus_scalar',
            '_mul_scalar',
            '_div_scalar',
            '_image_normalize',
            '_copy',
            'reverse',
        ),
        *('broadcast_sub', 'broadcast_add', 'broadcast_mul', 'broadcast_div'),
    ]
)
SEPARABLE, RESCALING, DENSE, MULTIPLY = 'SeparableConv2D', 'Rescaling', 'Dense', 'Multiply'

# Keras's classes of layers by operator; others keep the operator's name.
TYPES: Mapping[str, str] = {
    VARIABLE: 'InputLayer',
    'FullyConnected': DENSE,
    'BatchNorm': 'BatchNormalization',
    'LayerNorm': 'LayerNormalization',
    **dict.fromkeys(ADDITIONS, 'Add'),
    **dict.fromkeys(PRODUCTS, MULTIPLY),
    **dict.fromkeys(JOINTS, 'Concatenate'),
}


@dataclass(frozen=True)
class NetLayer(Subtotal):
    """A layer; `layers` are the audit's rows of its operators, none for an input of the network.

    `type` is Keras's class, or the activation; `inputs` are (number of a layer before it, which of its outputs).
    """

    type: str = ''
    inputs: Tuple[Tuple[int, int], ...] = ()
    shapes: Tuple[Shape, ...] = ()  # of its outputs

    @property
    def is_weighted(self) -> bool:
        """True for a layer that counts in the depth of a network: 50, 121 ..."""
        return 'Conv' in self.type or self.type == DENSE


@dataclass(frozen=True)
class LayerTable:
    """The layers of a network in topological order, and for each operator's id the number of its layer."""

    layers: Tuple[NetLayer, ...]
    place: Mapping[int, int]
    network: Network


def layer_table(symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]], audited: Audit) -> LayerTable:
    """Return the layers of an audited symbol; their sums add up to the audit's total."""
    network, audited_of = read_audited(symbol, shapes, audited)
    grouping = _Grouping(network)
    last = grouping.last
    groups: Dict[int, List[Operator]] = {end: [] for end in sorted(set(last.values()))}
    for op in network.operators:
        groups[last[op.id]].append(op)
    number = {end: index for index, end in enumerate(groups)}
    place = {i: number[end] for i, end in last.items()}
    found = []
    for end, members in groups.items():
        kind = grouping.type_of([op for op in members if not op.side] or members)
        entries = [entry for op in members for entry in op.inputs if place[entry[0]] != number[end]]
        read = dict.fromkeys((place[i], output) for i, output in entries)
        rows = tuple(audited_of[op.id] for op in members if op.id in audited_of)
        found.append(NetLayer(LAYER, _name(members, kind), rows, kind, tuple(read), _shapes(members[-1])))
    rest = [layer for layer in audited.layers if layer.operator == VARIABLE]
    found += [NetLayer(LAYER, each.name, (each,), 'parameter', (), each.output_shapes) for each in rest]
    return LayerTable(tuple(found), place, network)


class _Grouping:
    """The operator that gives the output of each operator's layer: `last`."""

    def __init__(self, network: Network) -> None:
        self._operators = network.operators
        self._readers: Dict[int, Set[int]] = defaultdict(set)
        for op in network.operators:
            for source, _ in op.inputs:
                self._readers[source].add(op.id)
        self._outputs = {source for source, _ in network.outputs}
        self._prelude: Set[int] = set()
        # inside an activation or a mirrored layer: the operator that ends it, or the next one
        self._next: Dict[int, int] = {}
        for op in network.operators:
            sources = self._data(op)
            if op.op in PIXELWISE and not _mirrors(op) and len(sources) == 1 and self._is_raw(sources[0]):
                self._prelude.add(op.id)
            self._next.update(dict.fromkeys(self._inside(op), op.id))
            self._next.update(self._mirrored(op))
        self.last: Dict[int, int] = {}
        for op in reversed(network.operators):
            target = self._target(op)
            self.last[op.id] = op.id if target is None else self.last[target]

    def type_of(self, members: Sequence[Operator]) -> str:
        """Return the type of a layer by its operators, without those on weights."""
        last = members[-1]
        if last.id in self._prelude and {op.op for op in members} - {'_copy', 'reverse'}:
            return RESCALING
        activation = composite(members[:-1], last)
        if activation:
            return activation
        main = _main(members)
        if main.op in WINDOWED:
            return _windowed([op for op in members if op.op in WINDOWED])
        return activation_name(main) if main.op in ELEMENTWISE_ACTIVATIONS else TYPES.get(main.op, main.op)

    def _data(self, op: Operator) -> List[int]:
        """Return what an operator reads, without weights that other operators have worked on."""
        return sorted({source for source, _ in op.inputs if not self._operators[source].side})

    def _is_raw(self, i: int) -> bool:
        return self._operators[i].op == VARIABLE or i in self._prelude

    def _inside(self, join: Operator) -> List[int]:
        """Return the operators between the one tensor that an activation reads and its end; none for anything else."""
        inside: List[int] = []
        ahead = set(self._data(join) if join.op in PRODUCTS else ())
        while len(ahead) > 1:
            latest = max(ahead)
            if latest in self._outputs or self._readers[latest] - {join.id, *inside}:
                return []
            inside.append(latest)
            ahead = (ahead - {latest}) | set(self._data(self._operators[latest]))
        return inside if composite([self._operators[i] for i in inside], join) else []

    def _mirrored(self, op: Operator) -> Dict[int, int]:
        """Return the way through a layer between two mirrorings, none for anything else."""
        before, after = self._data(op), self._readers[op.id]
        if op.op not in WINDOWED or len(before) != 1 or len(after) != 1 or before[0] in self._next.values():
            return {}
        (first,), (last,) = before, after
        alone = self._readers[first] == {op.id} and not {first, op.id} & self._outputs
        ends = _mirrors(self._operators[first]) and _mirrors(self._operators[last])
        return {first: op.id, op.id: last} if alone and ends else {}

    def _target(self, op: Operator) -> Optional[int]:
        """Return the operator behind this one that is of the same layer."""
        readers = self._readers[op.id]
        if op.id in self._next:
            return self._next[op.id]
        if op.side and readers:
            return min(readers)
        if len(readers) != 1 or op.id in self._outputs:
            return None
        (reader,) = readers
        return reader if self._together(op, self._operators[reader]) else None

    def _together(self, op: Operator, reader: Operator) -> bool:
        """Return whether an operator and its only reader are one layer."""
        if op.id in self._prelude and reader.id in self._prelude:
            return True
        if reader.op in WINDOWED and op.op == 'Pad':
            return True
        if reader.flattens:
            return _is_global(op)
        if op.flattens:
            (source,) = self._data(op)
            pooled = _is_global(self._operators[source]) and self._readers[source] == {op.id}
            return reader.op == 'FullyConnected' and not pooled
        return _is_separable(op, reader) or composite([op], reader) == 'SELU'


def _mirrors(op: Operator) -> bool:
    axes: Any = op.get('axis', ())
    return op.op == 'reverse' and set(axes if isinstance(axes, tuple) else (axes,)) <= SIDEWAYS


def _is_global(op: Operator) -> bool:
    return op.op == 'Pooling' and flag(op.attributes, 'global_pool', False)


def _is_separable(op: Operator, reader: Operator) -> bool:
    """Whether two convolutions are a depthwise one without a bias and a 1x1 on its output alone."""
    if op.op != 'Convolution' or reader.op != 'Convolution' or not op.depthwise:
        return False
    ones = {*reader.get('kernel', ()), *reader.get('stride', ()), reader.get('num_group', 1)}
    return ones == {1} and not any(reader.get('pad', ())) and flag(op.attributes, 'no_bias', False)


def _windowed(members: Sequence[Operator]) -> str:
    main = members[-1]
    axes = f'{len(main.shapes[0]) - 2}D'
    if main.op == 'Pooling':
        kind = {'avg': 'Average', 'max': 'Max'}.get(main.get('pool_type', 'max'), str(main.get('pool_type')))
        return f'{"Global" if _is_global(main) else ""}{kind}Pooling{axes}'
    if len(members) > 1:
        return SEPARABLE
    kind = 'Depthwise' if main.depthwise else ''
    return f'{kind}Conv{axes}{"Transpose" if main.op == "Deconvolution" else ""}'


def _main(members: Sequence[Operator]) -> Operator:
    """Return the operator that a layer is called after."""
    return next((op for op in reversed(members) if op.op in WINDOWED), members[-1])


def _shapes(last: Operator) -> Tuple[Shape, ...]:
    return tuple((shape[0], prod(shape[1:])) for shape in last.shapes) if last.flattens else last.shapes


def _name(members: Sequence[Operator], kind: str) -> str:
    if kind == SEPARABLE:
        halves = [op.name for op in members if op.op == 'Convolution']
        return common_label(halves) or halves[-1]
    return _main(members).name if members[-1].flattens else members[-1].name
