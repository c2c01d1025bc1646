"""A symbol of this project as steps; `held` are the names of its parameters."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from config.errors import ConfigError
from recognition.weights.onnx.steps import (
    CONV,
    DENSE,
    FUNCTIONS,
    LEAKY,
    NORM,
    PRELU,
    Graph,
    Step,
    convolution_settings,
    rounded,
)
from symbols.ir.nodes import Node, flag, list_nodes, read_attribute
from symbols.ir.rewriter import describe
from symbols.passes.prelu import as_operators

import mxnet as mx

SKIPPED = ('Dropout', 'Flatten', 'Reshape', '_copy', 'expand_dims', 'squeeze')
NORM_EPS = 1e-3  # MXNet's default
ROLES = ('gamma', 'beta', 'mean', 'variance')


class Read(NamedTuple):
    """An operator that is being read: its node, the tensors and the parameters behind its inputs, their shapes."""

    node: Node
    inputs: Tuple[str, ...]
    held: Tuple[str, ...]
    shapes: Tuple[Tuple[int, ...], ...]  # of the parameters

    def get(self, key: str, default: Any = None) -> Any:
        """Return an attribute."""
        return read_attribute(self.node.attributes, key, default)

    def step(self, op: str, *, output: str = '', **rest: Any) -> Step:
        """Return a step with the node's name."""
        return Step(op, self.node.name, self.inputs, output or self.node.name, **rest)


def network_graph(symbol: mx.sym.Symbol, image_shape: Sequence[int]) -> Graph:
    """Return a network with the input `data` for images (H, W, C).

    Raises ConfigError for an operator that is in no network here.
    """
    height, width, channels = image_shape
    symbol = as_operators(symbol)
    nodes = list_nodes(symbol, {'data': (1, channels, height, width)})
    names: List[str] = []  # the tensor that a node gives
    steps: List[Step] = []
    for node in nodes:
        read = _read(node, nodes, names)
        if node.is_variable or node.operator in SKIPPED:
            names.append(node.name if node.is_variable else read.inputs[0])
            continue
        rule = RULES.get(node.operator)
        if rule is None:
            raise ConfigError(
                f'{node.name!r} is an operator {node.operator}, which is not read from ONNX files'
            )
        steps += rule(read)
        names.append(node.name)
    return Graph(steps, 'data', names[describe(symbol)['heads'][0][0]])


def _read(node: Node, nodes: Sequence[Node], names: Sequence[str]) -> Read:
    sources = [source for source, _ in node.inputs]
    held = [each for each in sources if nodes[each].is_variable and nodes[each].name != 'data']
    return Read(
        node,
        tuple(names[each] for each in sources if each not in held),
        tuple(nodes[each].name for each in held),
        tuple(nodes[each].output_shapes[0] for each in held),
    )


def _convolution(read: Read) -> List[Step]:
    pad = read.get('pad') or (0, 0)
    settings = convolution_settings(
        read.shapes[0],
        read.get('stride') or (1, 1),
        (*pad, *pad),
        read.get('dilate') or (1, 1),
        read.get('num_group', 1),
    )
    return [read.step(CONV, settings=settings, held=dict(zip(('weight', 'bias'), read.held)))]


def _dense(read: Read) -> List[Step]:
    outputs, inputs = read.shapes[0]
    held = dict(zip(('weight', 'bias'), read.held))
    return [read.step(DENSE, settings={'inputs': inputs, 'outputs': outputs}, held=held)]


def _norm(read: Read) -> List[Step]:
    return [
        read.step(
            NORM,
            settings={'channels': read.shapes[0][0]},
            held=dict(zip(ROLES, read.held)),
            eps=rounded(read.get('eps', NORM_EPS)),
            fixed=flag(read.node.attributes, 'fix_gamma', True),
        )
    ]


def _activation(read: Read) -> List[Step]:
    return [read.step(FUNCTIONS[read.get('act_type')])]


def _leaky(read: Read) -> List[Step]:
    kind = read.get('act_type', 'leaky')
    if kind == 'prelu':
        return [read.step(PRELU, settings={'slopes': read.shapes[0][0]}, held={'slope': read.held[0]})]
    if kind not in ('leaky', 'elu'):
        raise ConfigError(f'the activation {kind} is not read from ONNX files')
    return [
        read.step(LEAKY if kind == 'leaky' else 'Elu', settings={'alpha': rounded(read.get('slope', 0.25))})
    ]


def _pooling(read: Read) -> List[Step]:
    average = read.get('pool_type', 'max') == 'avg'
    op = 'AveragePool' if average else 'MaxPool'
    if flag(read.node.attributes, 'global_pool', False):
        return [read.step(f'Global{op}')]
    pad = read.get('pad') or (0, 0)
    settings = {
        'kernel': read.get('kernel'),
        'stride': read.get('stride') or (1, 1),
        'pad': (*pad, *pad),
        'ceil': int(read.get('pooling_convention', 'valid') == 'full'),
    }
    return [read.step(op, settings=settings)]


def _plain(op: str, read: Read) -> List[Step]:
    return [read.step(op)]


def _scalar(op: str, read: Read) -> List[Step]:
    return [read.step(op, settings={'constant': (rounded(read.get('scalar')),)})]


def _normalise(read: Read) -> List[Step]:
    mean, deviation = (tuple(map(rounded, read.get(key))) for key in ('mean', 'std'))
    centred = f'{read.node.name}_centred'
    return [
        read.step('Sub', output=centred, settings={'constant': mean}),
        read._replace(inputs=(centred,)).step('Div', settings={'constant': deviation}),
    ]


def _axes(op: str, read: Read) -> List[Step]:
    given = read.get('axis')
    return [read.step(op, settings={'axes': (given,) if isinstance(given, int) else tuple(sorted(given))})]


def _pad(read: Read) -> List[Step]:
    width = read.get('pad_width')
    return [read.step('Pad', settings={'pad': (*width[::2], *width[1::2])})]


def _concat(read: Read) -> List[Step]:
    return [read.step('Concat', settings={'axis': read.get('dim', 1)})]


def _named(rule: Callable[..., List[Step]], names: Mapping[str, str]) -> Dict[str, Any]:
    return {name: partial(rule, op) for name, op in names.items()}


RULES: Dict[str, Callable[[Read], List[Step]]] = {
    'Convolution': _convolution,
    'FullyConnected': _dense,
    'BatchNorm': _norm,
    'Activation': _activation,
    'LeakyReLU': _leaky,
    'Pooling': _pooling,
    'Concat': _concat,
    'Pad': _pad,
    '_image_normalize': _normalise,
    **_named(
        _plain, {'elemwise_add': 'Add', 'elemwise_mul': 'Mul', 'broadcast_mul': 'Mul', 'broadcast_div': 'Div'}
    ),
    **_named(_plain, {'sigmoid': 'Sigmoid', 'sqrt': 'Sqrt'}),
    **_named(
        _scalar, {'_minus_scalar': 'Sub', '_mul_scalar': 'Mul', '_plus_scalar': 'Add', '_div_scalar': 'Div'}
    ),
    **_named(_axes, {'sum': 'ReduceSum', 'mean': 'ReduceMean', 'reverse': 'Reverse'}),
}
