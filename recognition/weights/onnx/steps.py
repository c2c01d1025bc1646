"""A network as a list of steps, the form in which an ONNX graph and a network here are laid beside each other.

A step is an operator under ONNX's name, with what it computes from. Operators that change nothing outside of training
(Dropout, Identity) and those that only change a shape (Flatten, Reshape) are no steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

CONV, DENSE, NORM, PRELU, LEAKY = 'Conv', 'Gemm', 'BatchNormalization', 'PRelu', 'LeakyRelu'
LINEAR = (CONV, DENSE)
COMMUTATIVE = ('Add', 'Mul', 'Max', 'Min', 'Sum')
# MXNet's act_type: ONNX's operator
FUNCTIONS = {
    'relu': 'Relu',
    'sigmoid': 'Sigmoid',
    'tanh': 'Tanh',
    'softrelu': 'Softplus',
    'softsign': 'Softsign',
}
COUNTED = ('channels', 'slopes')  # settings that are how many there are
LISTED = 8  # numbers that a message names


@dataclass(frozen=True)
class Step:
    """One operator; `inputs` are the tensors that are computed.

    settings: what two steps must have in common to be the same layer. held: by role, the arrays of a file, or the names
    of a network's parameters. fixed: whether a batch norm's gamma is 1 whatever is stored.
    """

    op: str
    name: str
    inputs: Tuple[str, ...]
    output: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    held: Mapping[str, Any] = field(default_factory=dict)
    eps: float = 0.0
    fixed: bool = False

    def words(self) -> str:
        """Return the step as a message names it: 'Conv 3x3, 64 -> 128, stride 2'."""
        if self.op == CONV:
            return self._convolution()
        told = dict(self.settings)
        sizes = [told.pop(key) for key in ('inputs', 'outputs') if key in told]
        parts = [' -> '.join(map(str, sizes))] if sizes else []
        parts += [_setting(key, value) for key, value in told.items() if value not in (None, (), 0)]
        return ', '.join([self.op, *parts])

    def _convolution(self) -> str:
        told = self.settings
        kernel = told['kernel']
        parts = [f'Conv {_short(kernel)}', f'{told["inputs"]} -> {told["outputs"]}']
        if set(told['stride']) != {1}:
            parts.append(f'stride {_short(told["stride"])}')
        if told['pad'] != tuple(side // 2 for side in kernel) * 2:
            parts.append(f'padding {_short(told["pad"])}')
        if set(told['dilation']) != {1}:
            parts.append(f'dilation {_short(told["dilation"])}')
        if told['groups'] != 1:
            parts.append(f'{told["groups"]} groups')
        return ', '.join(parts)


def _setting(key: str, value: Any) -> str:
    if value is True:
        return key
    return f'{value} {key}' if key in COUNTED else f'{key} {_short(value)}'


def _short(value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)
    if len(value) == 1 or len(value) > LISTED:
        return str(value[0]) if len(value) == 1 else f'of {len(value)} numbers'
    return 'x'.join(map(str, value)) if isinstance(value[0], int) and len(value) < 4 else str(tuple(value))


class Graph(NamedTuple):
    """The steps between two tensors, in topological order."""

    steps: Sequence[Step]
    input: str
    output: str

    def readers(self) -> Dict[str, List[Step]]:
        """Return the steps that read each tensor."""
        found: Dict[str, List[Step]] = {}
        for step in self.steps:
            for name in dict.fromkeys(step.inputs):
                found.setdefault(name, []).append(step)
        return found

    def width(self, tensor: str = '') -> int:
        """Return the channels of a tensor, by default of the output; 0 where no step behind it has any."""
        made = {step.output: step for step in self.steps}
        name = tensor or self.output
        while name in made:
            step = made[name]
            found = step.settings.get('outputs', step.settings.get('channels', 0))
            if found:
                return int(found)
            name = step.inputs[0]
        return 0


def convolution_settings(
    weight: Sequence[int], stride: Sequence[int], pad: Any, dilation: Sequence[int], groups: int
) -> Dict[str, Any]:
    """Return what two convolutions must have in common; weight: its shape (out, in / groups, height, width)."""
    return {
        'kernel': tuple(weight[2:]),
        'inputs': weight[1] * groups,
        'outputs': weight[0],
        'stride': tuple(stride),
        'pad': pad if isinstance(pad, str) else tuple(pad),
        'dilation': tuple(dilation),
        'groups': groups,
    }


def rounded(value: Any) -> float:
    """Return the shortest decimal that is this number in float32: what 1e-5 became there is 1e-5 again."""
    return float(str(np.float32(value)))
