"""A network of MXNet as an ONNX model, by a table of rules: what opset 17 computes in the place of each operator."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple

from config.errors import ConfigError, nearest
from recognition.checkpoint.matching import as_numpy
from recognition.export.onnx.arithmetic import ARITHMETIC
from recognition.export.onnx.builder import IR_VERSION, OPSET, Call, Dims, Draft, load_onnx
from recognition.export.onnx.layers import LAYERS, Rule, divide_by_norm
from symbols.ir.flattening import with_flatten
from symbols.ir.nodes import Node, list_nodes
from symbols.ir.rewriter import describe
from symbols.passes.prelu import as_operators

import mxnet as mx

__all__ = ['IR_VERSION', 'OPSET', 'RULES', 'to_onnx']

INPUT, OUTPUT, PRODUCER = 'data', 'embedding', 'facesymbols'
BATCHES = (2, 3)  # an axis that differs between them is the batch, or grows with it
RULES: Mapping[str, Rule] = {**LAYERS, **ARITHMETIC}


def to_onnx(
    symbol: mx.sym.Symbol,
    values: Mapping[str, Any],
    image_shape: Sequence[int] = (112, 112, 3),
    *,
    normalise: bool = False,
    uint8_nhwc: bool = False,
) -> Any:
    """Return a network with one output and the input `data` as an onnx.ModelProto with an output `embedding`.

    values: of all other variables by name, NDArray or numpy; they become float32 initializers. image_shape: (H, W, C).
    The input is float32 (N, C, H, W), with uint8_nhwc uint8 (N, H, W, C); N is free. normalise: the output has the
    length 1. Operators that do nothing outside of training are left out, fixed gammas are 1.
    Raises ConfigError for an operator that has no rule, or one with settings that ONNX cannot have; for a value that is
    missing; and where the output to normalise is no embedding (N, D). MissingExtra where onnx is not installed.
    """
    symbol = with_flatten(as_operators(symbol))
    nodes, dims = _nodes(symbol, image_shape)
    graph, draft = describe(symbol), Draft()
    data, tensor = _input(draft, image_shape, uint8_nhwc)
    tensors: List[Sequence[str]] = []
    for node, outputs in zip(nodes, dims):
        if node.is_variable:
            tensors.append([tensor if node.name == INPUT else _constant(draft, node, values)])
            continue
        inputs = tuple(tensors[source][output] for source, output in node.inputs)
        read = tuple(dims[source][output] for source, output in node.inputs)
        made = _rule(node)(draft, Call(node, inputs, read, outputs))
        tensors.append([made] if isinstance(made, str) else made)
    (source, output, *_), *others = graph['heads']
    if others:
        raise ConfigError(f'the network has {len(others) + 1} outputs; only one can be exported')
    result = tensors[source][output]
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


def _rule(node: Node) -> Rule:
    if node.operator not in RULES:
        raise ConfigError(
            f'{node.name!r} is an operator {node.operator}, for which there is no rule in ONNX'
            f'{nearest(node.operator, RULES)}'
        )
    return RULES[node.operator]


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
