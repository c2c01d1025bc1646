"""An ONNX graph that is being made, and one operator of MXNet's that is being put into it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np

from config.errors import ConfigError
from recognition.utils.packages import require
from symbols.ir.nodes import Node, flag, read_attribute

OPSET = 17  # of the default domain; onnxruntime reads it from 1.12 on
IR_VERSION = (
    8  # what came with opset 17; onnx would write its newest, which an older onnxruntime does not read
)
LARGEST = 2**31 - 2**20  # bytes of weights: a file of protobuf's holds 2 GB, and the graph needs a little

FLOAT, INT64, BOOL = 1, 7, 9  # ONNX's numbers of types

Dims = Tuple[Optional[int], ...]  # None: an axis that grows with the batch
Formula = Callable[..., str]  # of Steps and of tensors: the tensor that it computes


def load_onnx() -> ModuleType:
    """Return the onnx module; MissingExtra says how to install it."""
    for part in ('onnx.checker', 'onnx.numpy_helper'):
        require(part, 'onnx', 'an ONNX file')
    return require('onnx', 'onnx', 'an ONNX file')


def known(dims: Iterable[Optional[int]]) -> List[int]:
    """Return the sizes of axes, of which those that grow with the batch count as 1."""
    return [dim or 1 for dim in dims]


@dataclass(frozen=True)
class Call:
    """An operator of MXNet's: its node, the tensors that it reads, and the shapes of those and of its outputs."""

    node: Node
    inputs: Tuple[str, ...]
    shapes: Tuple[Dims, ...]
    outputs: Tuple[Dims, ...]

    @property
    def name(self) -> str:
        """Return the name of the node."""
        return self.node.name

    def get(self, key: str, default: Any = None) -> Any:
        """Return an attribute as the Python value that its text spells."""
        return read_attribute(self.node.attributes, key, default)

    def flag(self, key: str, default: bool = False) -> bool:
        """Return an attribute that is true or false."""
        return flag(self.node.attributes, key, default)

    def refuse(self, why: str) -> ConfigError:
        """Return the error that says why this operator has no ONNX form."""
        return ConfigError(f'{self.name!r}, an operator {self.node.operator}, cannot be exported: {why}')


class Draft:
    """The operators and constants of an ONNX graph; a constant that nothing reads is left out in the end."""

    def __init__(self) -> None:
        self._onnx = load_onnx()
        self._nodes: List[Any] = []
        self._constants: Dict[str, np.ndarray] = {}
        self._taken: Dict[str, int] = {'': 0}  # ONNX takes an empty name for an input that is left out

    def unique(self, name: str) -> str:
        """Return the name, or, where a tensor has it already, one made of it; it is taken from then on."""
        while name in self._taken:
            self._taken[name] += 1
            name = f'{name}_{self._taken[name]}'
        self._taken[name] = 0
        return name

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Add an array and return its name."""
        name = self.unique(name)
        self._constants[name] = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        return name

    def array(self, name: str) -> Optional[np.ndarray]:
        """Return the constant of this name, or None where the tensor is computed."""
        return self._constants.get(name)

    def operator(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add an operator of ONNX with one output, and return the name of that."""
        return self.operators(op, inputs, [name], **attributes)[0]

    def operators(self, op: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any) -> List[str]:
        """Add an operator of ONNX, and return the names of its outputs."""
        outputs = [self.unique(name) for name in names]
        given = {key: value for key, value in attributes.items() if value is not None}
        self._nodes.append(self._onnx.helper.make_node(op, list(inputs), outputs, name=outputs[0], **given))
        return outputs

    def finish(self, call: Call, formula: Formula, *inputs: Any) -> str:
        """Compute a formula of these inputs, or of the call's own, and name its last operator after the call."""
        formula(Steps(self, call), *(inputs or call.inputs))
        node = self._nodes[-1]
        node.name = node.output[0] = self.unique(call.name)
        return str(node.output[0])

    def reshape(self, call: Call, tensor: str, dims: Dims, name: str) -> str:
        """Give a tensor this shape; one axis at most may grow with the batch."""
        if sum(dim is None for dim in dims) > 1:
            raise call.refuse('more than one axis of its output grows with the batch')
        shape = self.constant(f'{name}_shape', [-1 if dim is None else dim for dim in dims], np.int64)
        return self.operator('Reshape', [tensor, shape], name)

    def model(self, name: str, data: Any, output: str, dims: Dims) -> Any:
        """Return the onnx.ModelProto; data: the input's ValueInfo. The output is renamed to `embedding`."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto
        # an output that is the input itself, or a constant, still needs an operator
        self.operator('Identity', [output], 'embedding')
        shape: List[Union[str, int]] = ['N' if dim is None else dim for dim in dims]
        result = helper.make_tensor_value_info(self._nodes[-1].output[0], kind.FLOAT, shape)
        self._drop_identity()
        graph = helper.make_graph(self._nodes, name, [data], [result], initializer=self._initializers())
        opset = helper.make_opsetid('', OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name=name)

    def _drop_identity(self) -> None:
        """Let the operator before the last one give the output itself, where nothing else reads what it gives."""
        *before, last = self._nodes
        readers = [tensor for node in before for tensor in node.input]
        for node in before:
            if list(node.output) == list(last.input) and last.input[0] not in readers:
                node.output[0] = last.output[0]
                self._nodes = before
                return

    def _initializers(self) -> List[Any]:
        read = {tensor for node in self._nodes for tensor in node.input}
        held = {name: value for name, value in self._constants.items() if name in read}
        size = sum(prod(value.shape) * value.itemsize for value in held.values())
        if size > LARGEST:
            raise ConfigError(
                f"the network's weights take {size:,} bytes, and an ONNX file holds {LARGEST:,}"
            )
        return [self._onnx.numpy_helper.from_array(value, name) for name, value in held.items()]


@dataclass(frozen=True)
class Steps:
    """Operators on the way to what a call computes; numbers and arrays among their inputs become constants."""

    draft: Draft
    call: Call

    def __call__(self, op: str, *inputs: Any, **attributes: Any) -> str:
        """Add an operator, and return the name of its output."""
        name = f'{self.call.name}_{op.lower()}'
        tensors = [
            each if isinstance(each, str) else self.draft.constant(f'{name}_{i}', each, _dtype(each))
            for i, each in enumerate(inputs)
        ]
        return self.draft.operator(op, tensors, name, **attributes)


def _dtype(value: Any) -> Any:
    return np.int64 if np.asarray(value).dtype.kind == 'i' else np.float32
