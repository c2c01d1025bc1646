"""A network's operators with what each one holds and costs, which every level of a picture is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isclose, prod
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from symbols.audit.core import AUXILIARY, Layer, Total, audit
from symbols.ir.flattening import flattens
from symbols.ir.nodes import Node, Shape, flag, list_nodes, read_attribute
from symbols.ir.prelu_forms import PRELU, merge_prelus

import mxnet as mx

SELU_ALPHA = 1.6732632423543772  # Klambauer et al. 2017, 'Self-Normalizing Neural Networks', equation 14
WEIGHT_AXES = 2  # a weight has at least so many; a scale, a shift or a slope has one
NORMALISING = frozenset(
    [
        'BatchNorm',
        'BatchNorm_v1',
        '_contrib_SyncBatchNorm',
        'LayerNorm',
        'InstanceNorm',
        'GroupNorm',
        'L2Normalization',
        'LRN',
    ]
)
ACTIVATIONS = frozenset(
    [
        'Activation',
        'LeakyReLU',
        PRELU,
        'relu',
        'sigmoid',
        'tanh',
        'hard_sigmoid',
        'softsign',
        'clip',
        'Dropout',
        '_copy',
    ]
)
ADDITIONS = frozenset(['elemwise_add', 'broadcast_add', 'add_n', '_npi_add', '_plus'])
PRODUCTS = frozenset(['elemwise_mul', 'broadcast_mul', '_npi_multiply'])
# what makes a gate, what may come between that and the product, and what pools a map, by default
GATES = frozenset(['sigmoid', '_npx_sigmoid', 'hard_sigmoid', 'clip', 'softmax'])
SPREADING = frozenset(
    [
        *(
            'Reshape',
            'Flatten',
            'expand_dims',
            'squeeze',
            'broadcast_like',
            'broadcast_to',
            'broadcast_axis',
            '_copy',
        ),
        *('_mul_scalar', '_div_scalar'),
    ]
)
POOLING = {'mean': 'avg', '_contrib_AdaptiveAvgPooling2D': 'avg', 'max': 'max', 'Pooling': 'max'}
JOINTS = frozenset(['Concat', 'stack', '_npi_concatenate'])


@dataclass(frozen=True)
class Operator:
    """One operator or network input (`op` is 'null'); ids are in topological order."""

    id: int
    op: str
    name: str
    attributes: Mapping[str, str]
    inputs: Tuple[Tuple[int, int], ...]  # (operator id, which of its outputs); parameters are not among them
    shapes: Tuple[Shape, ...]  # of its outputs
    counted: Tuple[str, ...] = ()  # the parameters it uses first
    shared: Tuple[str, ...] = ()  # those it uses that an earlier operator counts
    weighted: bool = False  # reads a parameter of two or more dimensions
    depthwise: bool = False  # a convolution with a filter of its own for every channel
    parameters: int = 0  # values in `counted` that are arguments of the symbol
    auxiliary: int = 0  # values in `counted` that are moving statistics
    macs: Optional[int] = 0  # None where the operator's cost is unknown
    side: bool = False  # reads no network input: a normalised weight, a constant

    @property
    def flattens(self) -> bool:
        """Whether it puts all values of an image on one axis."""
        return flattens(self.op, self.attributes)

    @property
    def holds(self) -> bool:
        """Whether it uses parameters at all."""
        return bool(self.counted or self.shared)

    def get(self, key: str, default: Any = None) -> Any:
        """Return an attribute as the Python value that its text spells."""
        return read_attribute(self.attributes, key, default)


@dataclass(frozen=True)
class Network:
    """A symbol's operators (inputs among them), its outputs as (operator id, which output), its totals."""

    operators: Tuple[Operator, ...]
    outputs: Tuple[Tuple[int, int], ...]
    inputs: Mapping[str, Shape]
    total: Total


def read_network(symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]]) -> Network:
    """Read a symbol whose inputs `shapes` names; the audit says what is input and what parameter.

    Raises ConfigError where `audit` does.
    """
    audited = audit(symbol, shapes)
    layers = iter([layer for layer in audited.layers if layer.operator != 'null'])
    heads = json.loads(symbol.tojson())['heads']
    nodes, members = merge_prelus(list_nodes(symbol, shapes), heads)
    last = {own[-1]: index for index, own in enumerate(members)}
    operators: List[Operator] = []
    place: Dict[int, int] = {}  # node index -> operator id
    for index, node in enumerate(nodes):
        if node.is_variable:
            if node.name not in audited.inputs:
                continue
            op = Operator(len(operators), node.operator, node.name, {}, (), node.output_shapes)
        else:
            inputs = tuple((place[source], output) for source, output in node.inputs if source in place)
            held = {nodes[source].output_shapes[0] for source, _ in node.inputs if source not in place}
            side = all(operators[source].side for source, _ in inputs)
            op = _operator(len(operators), node, inputs, next(layers), max(map(len, held), default=0), side)
        place[index] = op.id
        operators.append(op)
    outputs = tuple((place[last[node]], output) for node, output, *_ in heads if last[node] in place)
    return Network(tuple(operators), outputs, audited.inputs, audited.total)


def _operator(
    number: int, node: Node, inputs: Tuple[Tuple[int, int], ...], layer: Layer, axes: int, side: bool
) -> Operator:
    groups = node.attributes.get('num_group', '1')
    return Operator(
        id=number,
        op=node.operator,
        name=node.name,
        attributes=node.attributes,
        inputs=inputs,
        shapes=node.output_shapes,
        counted=tuple(parameter.name for parameter in layer.parameters),
        shared=tuple(layer.shared),
        weighted=axes >= WEIGHT_AXES and node.operator != PRELU,
        depthwise=groups != '1' and groups == node.attributes.get('num_filter'),
        parameters=layer.size(),
        auxiliary=layer.size(AUXILIARY),
        macs=layer.flops,
        side=side,
    )


def composite(interior: Sequence[Operator], join: Operator) -> str:
    """Return the activation that a few operators spell out, Swish or SELU; '' for anything else."""
    elu = [float(op.get('slope', 0)) for op in interior if op.attributes.get('act_type') == 'elu']
    if join.op == '_mul_scalar' and len(interior) == 1 and elu and isclose(elu[0], SELU_ALPHA, rel_tol=1e-6):
        return 'SELU'
    if join.op in PRODUCTS and {op.attributes.get('act_type', op.op) for op in interior} == {'sigmoid'}:
        return 'Swish'
    return ''


def excites(interior: Sequence[Operator], join: Operator, operators: Sequence[Operator]) -> bool:
    """Return whether operators are squeeze-and-excite (Hu et al. 2018, 'Squeeze-and-Excitation Networks', section 3).

    They multiply a map by a gate, a sigmoid say, that is made of nothing but the map's global average.
    """
    inside = {op.id: op for op in interior}
    pairs = zip(join.inputs, join.inputs[::-1]) if join.op in PRODUCTS else ()
    return any(
        _is_gate(inside, gate[0], scaled, operators[scaled[0]].shapes[scaled[1]]) for gate, scaled in pairs
    )


def _is_gate(inside: Mapping[int, Operator], last: int, scaled: Tuple[int, int], shape: Shape) -> bool:
    """Return whether the operator `last` ends a gate that is made of the global average of `scaled`, of that shape."""
    while last in inside and inside[last].op in SPREADING:
        last = inside[last].inputs[0][0]
    gate = inside.get(last)
    if gate is None or gate.attributes.get('act_type', gate.op) not in GATES or gate.get('a_min', 0):
        return False
    ahead, averages = [last], False
    for number in ahead:
        op = inside[number]
        if scaled in op.inputs:
            kind = op.attributes.get('pool_type', POOLING.get(op.op))
            if kind is None or prod(op.shapes[0]) != prod(shape[:2]):
                return False
            averages = averages or kind == 'avg'
        read = {entry[0] for entry in op.inputs if entry != scaled}
        if not read <= {*inside}:
            return False
        ahead += sorted(read - {*ahead})
    return averages


def activation_name(operator: Operator) -> str:
    """Return how the field writes an activation: PReLU, ReLU, ELU."""
    kind = operator.attributes.get('act_type', operator.op)
    names = {
        'prelu': 'PReLU',
        'leaky': 'LeakyReLU',
        'relu': 'ReLU',
        'elu': 'ELU',
        'selu': 'SELU',
        'gelu': 'GELU',
    }
    return names.get(kind, kind)


def _window(operator: Operator) -> str:
    kernel: Tuple[int, ...] = operator.get('kernel', ())
    stride: Tuple[int, ...] = operator.get('stride', ())
    text = '×'.join(map(str, kernel))
    if set(stride) <= {1}:
        return text
    return f'{text} stride {"×".join(map(str, stride if len(set(stride)) > 1 else stride[:1]))}'


def _convolution(operator: Operator) -> str:
    if operator.depthwise:
        return f'DepthwiseConv {_window(operator)}'
    name = 'Deconv' if operator.op == 'Deconvolution' else 'Conv'
    groups = operator.get('num_group', 1)
    text = f'{name} {_window(operator)}, {operator.get("num_filter")}'
    return text + (f' in {groups} groups' if groups != 1 else '')


def _pooling(operator: Operator) -> str:
    kind = {'avg': 'average', 'max': 'max'}.get(operator.get('pool_type', 'max'), operator.get('pool_type'))
    if flag(operator.attributes, 'global_pool', False):
        return f'global {kind} pool'
    return f'{kind} pool {_window(operator)}'


def _scalar(sign: str) -> Callable[[Operator], str]:
    return lambda operator: f'{sign} {operator.get("scalar", "?")}'


DESCRIBE: Mapping[str, Callable[[Operator], str]] = {
    'Convolution': _convolution,
    'Deconvolution': _convolution,
    'FullyConnected': lambda operator: f'Dense {operator.get("num_hidden")}',
    'Pooling': _pooling,
    'Activation': activation_name,
    'LeakyReLU': activation_name,
    PRELU: activation_name,
    'Dropout': lambda operator: f'Dropout {operator.get("p", 0.5)}',
    '_plus_scalar': _scalar('+'),
    '_minus_scalar': _scalar('−'),
    '_mul_scalar': _scalar('×'),
    '_div_scalar': _scalar('÷'),
    '_image_normalize': lambda operator: 'normalise',
    'Reshape': lambda operator: 'Flatten' if flattens(operator.op, operator.attributes) else operator.op,
    'Concat': lambda operator: 'concat',
    '_copy': lambda operator: 'identity',
    'null': lambda operator: 'input',
    **dict.fromkeys(ADDITIONS, lambda operator: 'add'),
    **dict.fromkeys(('elemwise_sub', 'broadcast_sub'), lambda operator: 'subtract'),
    **dict.fromkeys(('elemwise_div', 'broadcast_div'), lambda operator: 'divide'),
    **dict.fromkeys(PRODUCTS, lambda operator: 'multiply'),
}


def describe(operator: Operator) -> str:
    """Return an operator in a few words: 'Conv 3×3 stride 2, 64'."""
    if operator.flattens:
        return 'Flatten'
    rule = DESCRIBE.get(operator.op)
    return rule(operator) if rule else operator.op.lstrip('_')
