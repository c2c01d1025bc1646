"""Parameters, multiply-accumulates and output shapes of any MXNet symbol, as rows of data; it prints nothing.

Every argument of the symbol that is not an input is a parameter, so the totals equal `infer_shape`'s sums by
construction. What `mx.viz.print_summary` says of the same symbol is in `symbols.audit.print_summary_check`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import prod
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from config.errors import ConfigError, nearest
from symbols.audit.flops import count_macs
from symbols.ir.labels import batch_variables, label_names
from symbols.ir.nodes import Node, Shape, flag, list_nodes
from symbols.ir.prelu_forms import PRELU, merge_prelus
from symbols.ir.rewriter import attributes_by_name, describe
from symbols.ir.shapes import quiet

import mxnet as mx

FLOAT32 = 4  # bytes of a value
TRAINABLE, FIXED, AUXILIARY = 'trainable', 'fixed', 'auxiliary'
VARIABLE = 'null'  # the operator of a row for a parameter that no operator reads

# these ignore the gamma they are given (input 1) unless fix_gamma is False; absent means True
BATCH_NORMS = ('BatchNorm', 'BatchNorm_v1', '_contrib_SyncBatchNorm', '_contrib_BatchNormWithReLU')
GAMMA = 1


@dataclass(frozen=True)
class Parameter:
    """One parameter: `kind` is 'trainable', 'fixed' or 'auxiliary'; `shared_with` names its other readers."""

    name: str
    shape: Shape
    kind: str
    shared_with: Tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """One operator: the parameters counted here, and those (`shared`: name -> layer) counted at another.

    `input_shapes` are of what it reads but parameters; `flops` are multiply-accumulates for the whole batch, None where
    the operator has no rule; `bytes` are those of its outputs, its activations.
    """

    name: str
    operator: str
    output_shapes: Tuple[Shape, ...]
    parameters: Tuple[Parameter, ...] = ()
    shared: Mapping[str, str] = field(default_factory=dict)
    flops: Optional[int] = 0
    input_shapes: Tuple[Shape, ...] = ()
    bytes: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)

    def size(self, *kinds: str) -> int:
        """Return the number of values in parameters of these kinds; by default the trainable and fixed."""
        return sum(p.size for p in self.parameters if p.kind in (kinds or (TRAINABLE, FIXED)))


@dataclass(frozen=True)
class Total:
    """Sums over all layers: parameters = trainable + fixed, auxiliary states apart; flops (MACs), bytes of outputs."""

    parameters: int
    trainable: int
    fixed: int
    auxiliary: int
    flops: int
    bytes: int


@dataclass(frozen=True)
class Audit:
    """The layers of a network in topological order, and the shapes of its inputs."""

    layers: Tuple[Layer, ...]
    inputs: Mapping[str, Shape]

    @property
    def total(self) -> Total:
        """The sums over all layers; the flops leave out the layers in `uncounted`."""
        trainable, fixed, auxiliary = (
            sum(layer.size(kind) for layer in self.layers) for kind in (TRAINABLE, FIXED, AUXILIARY)
        )
        flops = sum(layer.flops or 0 for layer in self.layers)
        size = sum(layer.bytes for layer in self.layers)
        return Total(trainable + fixed, trainable, fixed, auxiliary, flops, size)

    @property
    def uncounted(self) -> Tuple[Layer, ...]:
        """The layers whose multiply-accumulates no rule knows."""
        return tuple(layer for layer in self.layers if layer.flops is None)


def audit(symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]], *, fixed: Iterable[str] = ()) -> Audit:
    """Return one row per layer of a symbol: its output shapes, parameters and multiply-accumulates.

    `shapes` gives the full shape, batch axis included, of each input by name; every other argument is a
    parameter, except labels, starting states of an RNN, and what has the batch as its first axis. A PReLU is one
    layer, PReLU, whatever it is built of (its bytes are those of all its operators). A parameter that several layers
    read counts once, at the first. Fixed are the gammas of batch norms with fix_gamma, variables with lr_mult
    0, and the names in `fixed` (grad_req 'null', say).

    Raises ConfigError when a name is unknown, or the shapes are too few or contradict the graph.
    """
    graph, listed = describe(symbol), list_nodes(symbol, shapes)
    data = {*shapes, *label_names(graph['nodes']), *batch_variables(symbol, shapes)}
    inputs = {node.name: node.output_shapes[0] for node in listed if node.is_variable and node.name in data}
    items = item_sizes(symbol, listed, inputs)
    nodes, members = merge_prelus(listed, graph['heads'])
    sizes = [sum(items[i] * sum(map(prod, listed[i].output_shapes)) for i in own) for own in members]
    readers = _readers(nodes)
    kinds = _kinds(symbol, nodes, readers, inputs, frozenset(fixed))
    return Audit(tuple(_layers(nodes, readers, kinds, sizes)), inputs)


def audit_block(block: mx.gluon.HybridBlock, shapes: Mapping[str, Sequence[int]]) -> Audit:
    """Return the audit of a HybridBlock; `shapes` lists its inputs in call order, under names of your choice.

    Parameters whose grad_req is 'null' are fixed. The block need not be initialised.
    """
    outputs = block(*[mx.sym.var(name) for name in shapes])
    symbol = mx.sym.Group(outputs) if isinstance(outputs, (list, tuple)) else outputs
    present = set(symbol.list_arguments())
    frozen = [p.name for p in block.collect_params().values() if p.grad_req == 'null' and p.name in present]
    return audit(symbol, shapes, fixed=frozen)


# a variable's name -> the (node index, input slot) that read it, in topological order
_Readers = Mapping[str, List[Tuple[int, int]]]


def _readers(nodes: Sequence[Node]) -> _Readers:
    readers: Dict[str, List[Tuple[int, int]]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for slot, (source, _) in enumerate(node.inputs):
            if nodes[source].is_variable:
                readers[nodes[source].name].append((index, slot))
    return readers


def _kinds(
    symbol: mx.sym.Symbol,
    nodes: Sequence[Node],
    readers: _Readers,
    inputs: Mapping[str, Shape],
    fixed: FrozenSet[str],
) -> Dict[str, str]:
    """Return the kind of every parameter by name."""
    attributes, states = attributes_by_name(symbol), set(symbol.list_auxiliary_states())
    names = [node.name for node in nodes if node.is_variable and node.name not in inputs]
    for name in fixed:
        if name not in names:
            raise ConfigError(f'fixed={name!r} is no parameter of the symbol{nearest(name, names)}')

    def is_fixed(name: str) -> bool:
        if name in fixed or float(attributes.get(name, {}).get('__lr_mult__', 1)) == 0:
            return True
        uses = readers.get(name, ())
        return bool(uses) and all(_ignores_gamma(nodes[i], slot) for i, slot in uses)

    return {name: AUXILIARY if name in states else FIXED if is_fixed(name) else TRAINABLE for name in names}


def _ignores_gamma(node: Node, slot: int) -> bool:
    return node.operator in BATCH_NORMS and slot == GAMMA and flag(node.attributes, 'fix_gamma', True)


def _layers(
    nodes: Sequence[Node], readers: _Readers, kinds: Mapping[str, str], sizes: Sequence[int]
) -> Iterable[Layer]:
    owners: Dict[str, str] = {}
    shapes = _parameter_shapes(nodes, kinds)
    for node, size in zip(nodes, sizes):
        if not node.is_variable:
            read = _unique(nodes[i].name for i, _ in node.inputs if nodes[i].is_variable)
        elif node.name in kinds and node.name not in readers and node.name not in owners:
            read = [node.name]  # a parameter that is itself an output
        else:
            continue
        own = [name for name in read if name in kinds and name not in owners]
        shared = {name: owners[name] for name in read if name in owners}
        owners.update((name, node.name) for name in own)
        parameters = tuple(
            Parameter(name, shapes[name], kinds[name], _other_readers(name, nodes, readers)) for name in own
        )
        given = [(nodes[i], output) for i, output in node.inputs]
        seen = tuple(source.output_shapes[output] for source, output in given if source.name not in kinds)
        macs = _macs(node, nodes)
        yield Layer(
            node.name,
            node.operator,
            node.output_shapes,
            parameters,
            shared,
            macs,
            seen,
            0 if node.is_variable else size,
            node.attributes,
        )


def _parameter_shapes(nodes: Sequence[Node], kinds: Mapping[str, str]) -> Dict[str, Shape]:
    shapes: Dict[str, Shape] = {}
    for node in nodes:
        if node.is_variable and node.name in kinds:
            (shape,) = node.output_shapes
            if shapes.setdefault(node.name, shape) != shape:
                raise ConfigError(
                    f'two variables are called {node.name!r}, of shapes {shapes[node.name]} and {shape}; '
                    'give each its own name'
                )
    return shapes


def _other_readers(name: str, nodes: Sequence[Node], readers: _Readers) -> Tuple[str, ...]:
    indices = _unique(index for index, _ in readers.get(name, ()))
    return tuple(nodes[index].name for index in indices[1:])


def _macs(node: Node, nodes: Sequence[Node]) -> Optional[int]:
    if node.is_variable or node.operator == PRELU:
        return 0
    inputs = [nodes[source].output_shapes[output] for source, output in node.inputs]
    return count_macs(node.operator, node.attributes, inputs, node.output_shapes)


def item_sizes(symbol: mx.sym.Symbol, nodes: Sequence[Node], inputs: Iterable[str]) -> List[int]:
    """Return the bytes of one value of each node's first output, by types that follow from float32 inputs."""
    internals = symbol.get_internals()
    try:
        with quiet():
            _, types, _ = internals.infer_type(**dict.fromkeys(inputs, np.float32))
    except mx.MXNetError:
        types = None
    if types is None:
        return [FLOAT32] * len(nodes)
    outputs = iter(types)
    sizes = [next(iter([next(outputs) for _ in node.output_shapes])) for node in nodes]
    return [FLOAT32 if kind is None else np.dtype(kind).itemsize for kind in sizes]


def _unique(items: Iterable[Any]) -> List[Any]:
    return list(dict.fromkeys(items))
