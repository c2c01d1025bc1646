"""A network of MXNet as an ONNX model, by a table of rules: what opset 17 computes in the place of each operator."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from config.errors import ConfigError
from recognition.checkpoint.matching import as_numpy
from recognition.export.onnx.arithmetic import ARITHMETIC
from recognition.export.onnx.builder import IR_VERSION, OPSET, Call, Dims, Draft, load_onnx
from recognition.export.onnx.front import Step
from recognition.export.onnx.indexing import INDEXING
from recognition.export.onnx.layers import LAYERS, Rule, divide_by_norm
from recognition.export.onnx.norms import NORMS
from recognition.export.onnx.pooling import POOLS
from recognition.export.onnx.resizing import RESIZING
from recognition.export.onnx.shapes import SHAPES
from symbols.ir.flattening import with_flatten
from symbols.ir.nodes import Node, list_nodes
from symbols.ir.rewriter import describe
from symbols.passes.prelu import as_operators

import mxnet as mx

__all__ = ['IR_VERSION', 'OPSET', 'RULES', 'to_onnx']

INPUT, OUTPUT, PRODUCER = 'data', 'embedding', 'facesymbols'
BATCHES = (2, 3)  # an axis that differs between them is the batch, or grows with it
OF_FLOATS: Mapping[str, Rule] = {**LAYERS, **POOLS, **NORMS, **ARITHMETIC, **RESIZING}
RULES: Mapping[str, Rule] = {**OF_FLOATS, **SHAPES, **INDEXING}
LOSSES = ('SoftmaxOutput', 'LinearRegressionOutput', 'MAERegressionOutput', 'LogisticRegressionOutput')


def to_onnx(
    symbol: mx.sym.Symbol,
    values: Mapping[str, Any],
    image_shape: Sequence[int] = (112, 112, 3),
    *,
    normalise: bool = False,
    uint8_nhwc: bool = False,
    steps: Sequence[Step] = (),
) -> Any:
    """Return a network with one output and the input `data` as an onnx.ModelProto with an output `embedding`.

    values: of all other variables by name, NDArray or numpy; they become float32 initializers. image_shape: (H, W, C).
    The input is float32 (N, C, H, W), with uint8_nhwc uint8 (N, H, W, C); N is free. steps: what is done to its pixels
    before the network. normalise: the output has the length 1. Operators that do nothing outside of training are left
    out, fixed gammas are 1.
    Raises ConfigError for an operator that has no rule, or one with settings that ONNX cannot have; for a value that is
    missing; and where the output to normalise is no embedding (N, D). MissingExtra where onnx is not installed.
    """
    symbol = with_flatten(as_operators(symbol))
    nodes, dims = _nodes(symbol, image_shape)
    graph, draft = describe(symbol), Draft()
    data, tensor = _input(draft, image_shape, uint8_nhwc)
    for step in steps:
        number = draft.constant(
            f'{step.name}_value', step.value.reshape(-1, 1, 1) if step.value.ndim else step.value
        )
        tensor = draft.operator(step.operator, [tensor, number], step.name)
    tensors: List[Sequence[str]] = []
    labels = {node.inputs[1][0] for node in nodes if node.operator in LOSSES}
    _check_types(symbol, nodes)
    for index, (node, outputs) in enumerate(zip(nodes, dims)):
        if node.is_variable:
            unread = index in labels and node.name not in values
            held = '' if unread else tensor if node.name == INPUT else _constant(draft, node, values)
            tensors.append([held])
            continue
        rule = _rule(node, nodes)
        inputs = tuple(_read(nodes[source], tensors[source], output) for source, output in node.inputs)
        read = tuple(dims[source][output] for source, output in node.inputs)
        made = rule(draft, Call(node, inputs, read, outputs))
        tensors.append([made] if isinstance(made, str) else made)
    (source, output, *_), *others = graph['heads']
    if others:
        raise ConfigError(f'the network has {len(others) + 1} outputs; only one can be exported')
    result = _read(nodes[source], tensors[source], output)
    if normalise:
        result = _normalised(draft, result, dims[source][output])
    return draft.model(PRODUCER, data, result, dims[source][output])


def _nodes(
    symbol: mx.sym.Symbol, image_shape: Sequence[int]
) -> Tuple[Sequence[Node], List[Tuple[Dims, ...]]]:
    """Return the nodes, and the shapes of their outputs with None for an axis that grows with the batch."""
    height, width, channels = image_shape
    one, other = (list_nodes(symbol, {INPUT: (batch, channels, height, width)}) for batch in BATCHES)
    dims = [
        tuple(
            tuple(a if a == b else None for a, b in zip(*shapes))
            for shapes in zip(node.output_shapes, again.output_shapes)
        )
        for node, again in zip(one, other)
    ]
    return one, dims


def _rule(node: Node, nodes: Sequence[Node]) -> Rule:
    if node.operator in RULES:
        return RULES[node.operator]
    before = [nodes[source].name for source, _ in node.inputs if not nodes[source].is_variable]
    hint = f'; --output-layer {before[0]} exports the network up to the layer before it' if before else ''
    raise ConfigError(f'{node.name!r} is an operator {node.operator}, which cannot be exported to ONNX{hint}')


def _read(source: Node, tensors: Sequence[str], output: int) -> str:
    if output >= len(tensors):
        raise ConfigError(
            f'{source.name!r}, an operator {source.operator}, cannot be exported: '
            f'its output {output} is read, which ONNX does not compute'
        )
    return tensors[output]


def _check_types(symbol: mx.sym.Symbol, nodes: Sequence[Node]) -> None:
    """Raise ConfigError where a rule of float32 would read another type, which onnxruntime does not take or rounds."""
    listed = iter(_types(symbol.get_internals()))
    types = [[next(listed, 'float32') for _ in node.output_shapes] for node in nodes]
    for node in nodes:
        if node.operator in OF_FLOATS:
            source, output = node.inputs[0]
            if types[source][output] != 'float32':
                raise ConfigError(
                    f'{node.name!r}, an operator {node.operator}, cannot be exported: '
                    f'it reads {types[source][output]}, and its rule takes float32'
                )
    for held in _types(symbol):
        if held != 'float32':
            raise ConfigError(f'the network cannot be exported: its output is {held}, not float32')


def _types(symbol: mx.sym.Symbol) -> List[str]:
    """Return the types of the outputs; one that MXNet does not know is float32."""
    inferred = symbol.infer_type_partial(**{INPUT: np.float32})[1] or ()
    return [np.dtype(each or np.float32).name for each in inferred]


def _constant(draft: Draft, node: Node, values: Mapping[str, Any]) -> str:
    if node.name not in values:
        raise ConfigError(f'there is no value for {node.name!r}')
    return draft.constant(node.name, as_numpy(values[node.name]))


def _input(draft: Draft, image_shape: Sequence[int], uint8_nhwc: bool) -> Tuple[Any, str]:
    """Return the input, and the tensor of it that is float32 (N, C, H, W)."""
    onnx = load_onnx()
    height, width, channels = image_shape
    name = draft.unique(INPUT)
    if not uint8_nhwc:
        shape: Tuple[Optional[Any], ...] = ('N', channels, height, width)
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape), name
    shape = ('N', height, width, channels)
    planes = draft.operator('Transpose', [name], 'data_planes', perm=(0, 3, 1, 2))
    floats = draft.operator('Cast', [planes], 'data_float', to=onnx.TensorProto.FLOAT)
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, shape), floats


def _normalised(draft: Draft, tensor: str, dims: Dims) -> str:
    if len(dims) != 2:
        held = ' x '.join(map(str, dims[1:]))
        raise ConfigError(f'the network gives maps of {held} values, and normalise=True needs an embedding')
    return divide_by_norm(draft, tensor, [1], 'unit')
