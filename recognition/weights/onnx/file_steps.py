"""An ONNX graph as steps; `held` are its arrays, float32.

What exporters write in different ways is the same here: constants that are computed, a Gemm and a MatMul with an Add,
Flatten and a Reshape to a computed shape, a mean over rows and columns and a global average.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, Optional, Sequence, Set

import numpy as np

from config.errors import CheckpointError
from recognition.weights.onnx.steps import (
    CONV,
    DENSE,
    LINEAR,
    NORM,
    PRELU,
    Graph,
    Step,
    convolution_settings,
    rounded,
)

SKIPPED = ('Identity', 'Dropout', 'Flatten', 'Reshape', 'Squeeze', 'Unsqueeze', 'Cast', 'CastLike')
# What is done to constants alone. The shape of what changes nothing else does not matter.
FOLDED: Dict[str, Callable[..., np.ndarray]] = {
    **dict.fromkeys(('Identity', 'CastLike', 'Flatten', 'Squeeze', 'Unsqueeze'), lambda first, *_: first),
    'Reshape': lambda first, shape: first.reshape(shape),
    'Expand': lambda first, shape: np.broadcast_to(first, tuple(shape)),
    **{op: getattr(np, name) for op, name in (('Add', 'add'), ('Sub', 'subtract'), ('Mul', 'multiply'))},
    **{'Div': np.divide, 'Neg': np.negative, 'Sqrt': np.sqrt},
}
QUANTISED = ('Quantize', 'QLinear', 'Integer', 'DequantizeLinear', 'DynamicQuantize')
FLOAT = 1  # ONNX's number of float32
MAP_AXES = ({2, 3}, {-1, -2})
NORM_EPS, SLOPE = 1e-5, 0.01  # ONNX's defaults
SCALARS = ('Add', 'Sub', 'Mul', 'Div', 'Pow', 'Max', 'Min')


class FileReader:
    """A graph that is being read; `source` names the file in errors."""

    def __init__(self, model: Any, source: object) -> None:
        from onnx import helper, numpy_helper

        self._attribute, self._array = helper.get_attribute_value, numpy_helper.to_array
        self._source, self._nodes = source, model.graph.node
        self._arrays: Dict[str, np.ndarray] = {
            each.name: self._constant(each, each.name) for each in model.graph.initializer
        }
        self._alias: Dict[str, str] = {}
        self._shapes: Set[str] = set()  # tensors computed from shapes alone
        self._steps: Dict[str, Step] = {}  # by output
        self._names: Sequence[str] = ()  # what the node at hand reads
        self._count: Dict[str, int] = {}
        for node in self._nodes:
            for name in node.input:
                self._count[name] = self._count.get(name, 0) + 1

    def graph(self, data: str, output: str) -> Graph:
        """Return the steps from the input `data` to `output`."""
        for node in self._nodes:
            self._read(node)
        end = self._alias.get(output, output)
        needed, kept = {end}, []
        for step in reversed(list(self._steps.values())):
            if step.output in needed:
                needed.update(step.inputs)
                kept.append(step)
        return Graph(kept[::-1], data, end)

    def refuse(self, why: str) -> CheckpointError:
        """Return the error about this file."""
        return CheckpointError(f'{self._source} {why}')

    def _constant(self, tensor: Any, name: str) -> np.ndarray:
        try:
            return np.asarray(self._array(tensor))
        except Exception as error:  # onnx has no error of its own for what a tensor says falsely of its bytes
            raise self.refuse(f'is damaged: the values of {name!r} cannot be read') from error

    def _read(self, node: Any) -> None:
        if any(part in node.op_type for part in QUANTISED):
            raise self.refuse(
                f'is quantised ({node.op_type}): its weights are whole numbers, from which no network trains; '
                'give the file in float32'
            )
        self._names = names = [self._alias.get(name, name) for name in node.input]
        if node.op_type == 'Constant':
            self._arrays[node.output[0]] = self._value(node)
            return
        computed = [name for name in names if name and name not in self._arrays]
        if not computed or (node.op_type == 'CastLike' and names[0] in self._arrays):
            self._fold(node)
        elif node.op_type == 'Shape' or self._shapes.issuperset(computed):
            self._shapes.update(node.output)
        elif node.op_type in SKIPPED:
            if node.op_type == 'Cast' and self._get(node, 'to') != FLOAT:
                raise self.refuse(
                    f'does not compute in float32 ({node.name or node.op_type}); give one that does'
                )
            self._alias[node.output[0]] = names[0]
        else:
            rule: Callable[[Any], Optional[Step]] = getattr(self, f'_{node.op_type.lower()}', self._other)
            step = rule(node)
            if step is not None:
                self._steps[step.output] = step

    def _value(self, node: Any) -> np.ndarray:
        (given,) = node.attribute
        value = self._attribute(given)
        return self._constant(value, node.output[0]) if given.name == 'value' else np.asarray(value)

    def _fold(self, node: Any) -> None:
        """Compute a constant; what is made of constants in other ways can only be a shape."""
        values = [self._arrays[name] for name in self._names if name in self._arrays]
        try:
            if node.op_type == 'Shape':
                ends = slice(self._get(node, 'start', 0), self._get(node, 'end'))
                self._arrays[node.output[0]] = np.asarray(values[0].shape[ends])
            elif node.op_type == 'Transpose':
                self._arrays[node.output[0]] = values[0].transpose(self._get(node, 'perm'))
            elif node.op_type == 'Cast':
                floats = self._get(node, 'to') == FLOAT
                self._arrays[node.output[0]] = values[0].astype(np.float32) if floats else values[0]
            elif node.op_type in FOLDED:
                self._arrays[node.output[0]] = FOLDED[node.op_type](*values)
            else:
                self._shapes.update(node.output)
        except (IndexError, TypeError, ValueError) as error:
            raise self.refuse(f'is damaged: {_label(node)!r} cannot be computed') from error

    def _get(self, node: Any, key: str, default: Any = None) -> Any:
        return next((self._attribute(each) for each in node.attribute if each.name == key), default)

    def _input(self, number: int) -> Optional[np.ndarray]:
        """Return an input of the node at hand, if it is a constant."""
        return self._arrays.get(self._names[number]) if number < len(self._names) else None

    def _held(self, node: Any, **numbers: int) -> Dict[str, np.ndarray]:
        """Return constant inputs by role, as float32."""
        held = {}
        for role, number in numbers.items():
            array = self._input(number)
            if array is None and number < len(self._names) and self._names[number]:
                raise self.refuse(f'computes the {role} of {_label(node)}, where a constant is wanted')
            if array is not None:
                held[role] = self._float32(array, self._names[number])
        return held

    def _float32(self, array: np.ndarray, name: str) -> np.ndarray:
        if array.dtype.kind != 'f' or array.dtype.itemsize < 4:
            raise self.refuse(f'holds {name!r} as {array.dtype}, where float32 is wanted')
        if not np.isfinite(array).all():
            raise self.refuse(f'has values that are not finite in {name!r}')
        return np.asarray(array, np.float32)

    def _step(self, node: Any, op: str, **rest: Any) -> Step:
        inputs = tuple(name for name in self._names if name and name not in self._arrays)
        return Step(op, _label(node), inputs, node.output[0], **rest)

    def _conv(self, node: Any) -> Step:
        held = self._held(node, weight=1, bias=2)
        shape = held['weight'].shape
        axes = len(shape) - 2
        auto = self._get(node, 'auto_pad', b'NOTSET').decode()
        pad = auto if auto.startswith('SAME') else self._get(node, 'pads') or (0,) * 2 * axes
        settings = convolution_settings(
            shape,
            self._get(node, 'strides') or (1,) * axes,
            pad,
            self._get(node, 'dilations') or (1,) * axes,
            self._get(node, 'group', 1),
        )
        return self._step(node, CONV, settings=settings, held=held)

    def _gemm(self, node: Any) -> Step:
        held = self._held(node, weight=1, bias=2)
        if self._get(node, 'transA', 0):
            raise self.refuse(f'transposes the input of {_label(node)}, which no network here does')
        weight = held['weight'] if self._get(node, 'transB', 0) else held['weight'].T
        return self._dense(
            node, weight * self._get(node, 'alpha', 1.0), held.get('bias'), self._get(node, 'beta', 1.0)
        )

    def _matmul(self, node: Any) -> Step:
        weight = self._input(1)
        if weight is None or weight.ndim != 2:
            return self._step(node, node.op_type)
        return self._dense(node, self._held(node, weight=1)['weight'].T)

    def _dense(
        self, node: Any, weight: np.ndarray, bias: Optional[np.ndarray] = None, beta: float = 1.0
    ) -> Step:
        outputs, inputs = weight.shape
        held = {'weight': weight}
        if bias is not None:
            held['bias'] = np.broadcast_to(bias * beta, (1, outputs)).reshape(-1)
        return self._step(node, DENSE, settings={'inputs': inputs, 'outputs': outputs}, held=held)

    def _batchnormalization(self, node: Any) -> Step:
        held = self._held(node, gamma=1, beta=2, mean=3, variance=4)
        if (held['variance'] < 0).any():
            raise self.refuse(f'has variances below 0 in {_label(node)}')
        eps = rounded(self._get(node, 'epsilon', NORM_EPS))
        return self._step(node, NORM, settings={'channels': len(held['gamma'])}, held=held, eps=eps)

    def _prelu(self, node: Any) -> Step:
        held = self._held(node, slope=1)
        return self._step(node, PRELU, settings={'slopes': held['slope'].size}, held=held)

    def _leakyrelu(self, node: Any, default: float = SLOPE) -> Step:
        return self._step(node, node.op_type, settings={'alpha': rounded(self._get(node, 'alpha', default))})

    def _elu(self, node: Any) -> Step:
        return self._leakyrelu(node, 1.0)

    def _maxpool(self, node: Any) -> Step:
        kernel = tuple(self._get(node, 'kernel_shape'))
        settings = {
            'kernel': kernel,
            'stride': tuple(self._get(node, 'strides') or (1,) * len(kernel)),
            'pad': tuple(self._get(node, 'pads') or (0,) * 2 * len(kernel)),
            'ceil': self._get(node, 'ceil_mode', 0),
        }
        return self._step(node, node.op_type, settings=settings)

    _averagepool = _maxpool

    def _reducemean(self, node: Any) -> Step:
        axes = self._get(node, 'axes')
        given = self._input(1) if axes is None else axes
        chosen = () if given is None else tuple(sorted(map(int, given)))
        if set(chosen) in MAP_AXES and node.op_type == 'ReduceMean':
            return self._step(node, 'GlobalAveragePool')
        return self._step(node, node.op_type, settings={'axes': chosen})

    _reducesum = _reducemean

    def _concat(self, node: Any) -> Step:
        """Return the step, or that of three channels which a Split has put apart and this puts in the other order."""
        splits = [each for each in self._nodes if each.op_type == 'Split' and self._names[0] in each.output]
        for split in splits:
            if len(split.output) == 3 and self._names == list(split.output)[::-1]:
                source = self._alias.get(split.input[0], split.input[0])
                return Step('Reverse', _label(node), (source,), node.output[0], {'axes': (1,)})
        return self._step(node, 'Concat', settings={'axis': self._get(node, 'axis')})

    def _split(self, node: Any) -> None:
        """Leave it to the Concat."""

    def _slice(self, node: Any) -> Optional[Step]:
        axes, steps = self._input(3), self._input(4)
        if axes is None or steps is None or set(steps.tolist()) != {-1}:
            return self._other(node)
        return self._step(node, 'Reverse', settings={'axes': tuple(sorted(axes.tolist()))})

    def _gather(self, node: Any) -> Optional[Step]:
        order = self._input(1)
        if order is None or order.tolist() != [2, 1, 0] or self._get(node, 'axis', 0) != 1:
            return self._other(node)
        return self._step(node, 'Reverse', settings={'axes': (1,)})

    def _pad(self, node: Any) -> Step:
        pads = self._input(1) if len(self._names) > 1 else np.asarray(self._get(node, 'pads', ()))
        return self._step(node, 'Pad', settings={'pad': () if pads is None else tuple(pads.tolist())})

    def _other(self, node: Any) -> Optional[Step]:
        given = [(n, self._arrays[name]) for n, name in enumerate(self._names) if name in self._arrays]
        if node.op_type not in SCALARS or len(given) != 1:
            told = {each.name: self._attribute(each) for each in node.attribute}
            return self._step(node, node.op_type, settings={'perm': told['perm']} if 'perm' in told else {})
        ((number, array),) = given
        if node.op_type == 'Add' and self._as_bias(node, array):
            return None
        constant = tuple(rounded(each) for each in np.ravel(array))
        first = {'first': True} if number == 0 and node.op_type not in ('Add', 'Mul') else {}
        return self._step(node, node.op_type, settings={'constant': constant, **first})

    def _as_bias(self, node: Any, array: np.ndarray) -> bool:
        """Add a constant to the linear layer that nothing but this Add reads, as its bias, where it can be one."""
        source = next(name for name in self._names if name not in self._arrays)
        made = self._steps.get(source)
        if made is None or made.op not in LINEAR or made.settings['outputs'] != array.size:
            return False
        if 'bias' in made.held or self._count.get(source, 0) != 1:
            return False
        bias = self._float32(array, _label(node)).reshape(-1)
        del self._steps[source]
        self._steps[node.output[0]] = replace(made, output=node.output[0], held={**made.held, 'bias': bias})
        return True


def _label(node: Any) -> str:
    return node.name or (node.output[0] if node.output else node.op_type)
