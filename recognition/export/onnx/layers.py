"""MXNet's layers in ONNX: a rule for each, which adds what computes the same and returns the name of its output."""

from __future__ import annotations

from functools import reduce
from math import prod, sqrt
from typing import Callable, Dict, List, NamedTuple, Sequence, Union

import numpy as np

from recognition.export.onnx.builder import Call, Draft

Result = Union[str, List[str]]
Rule = Callable[[Draft, Call], Result]

PLAIN_LAYOUTS = (None, 'None', 'NCW', 'NCHW', 'NCDHW')
NORM_EPS, L2_EPS, SLOPE = 1e-3, 1e-10, 0.25  # MXNet's defaults


def convolution(draft: Draft, call: Call) -> str:
    """Convolve, padded with as many zeros before as behind."""
    _check_layout(call)
    kernel = call.get('kernel')
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    pad = call.get('pad') or zeros
    return draft.operator(
        'Conv',
        call.inputs,
        call.name,
        kernel_shape=kernel,
        strides=call.get('stride') or ones,
        dilations=call.get('dilate') or ones,
        pads=(*pad, *pad),
        group=call.get('num_group', 1),
    )


def batch_norm(draft: Draft, call: Call) -> str:
    """Normalise by the statistics; a gamma that is fixed is 1, whatever is stored."""
    axis = call.get('axis', 1)
    if axis not in (1, 1 - len(call.shapes[0])):
        raise call.refuse(f'its channels are on axis {axis}, and ONNX has them on axis 1')
    data, gamma, *rest = call.inputs
    if call.flag('fix_gamma', True):
        gamma = draft.constant(f'{call.name}_fixed_gamma', np.ones(prod(dim or 1 for dim in call.shapes[1])))
    eps = call.get('eps', NORM_EPS)
    return draft.operator('BatchNormalization', [data, gamma, *rest], call.name, epsilon=eps)


def fully_connected(draft: Draft, call: Call) -> str:
    """Multiply by the weight's rows, with `flatten` all axes but the batch as one, without it the last axis alone."""
    data, weight, *bias = call.inputs
    axes = len(call.shapes[0])
    if call.flag('flatten', True) or axes == 2:
        if axes != 2:
            data = draft.operator('Flatten', [data], f'{call.name}_flat', axis=1)
        return draft.operator('Gemm', [data, weight, *bias], call.name, transB=1)
    held = draft.array(weight)
    if held is None:
        turned = draft.operator('Transpose', [weight], f'{call.name}_turned', perm=(1, 0))
    else:
        turned = draft.constant(f'{weight}_turned', held.T)
    if not bias:
        return draft.operator('MatMul', [data, turned], call.name)
    product = draft.operator('MatMul', [data, turned], f'{call.name}_product')
    return draft.operator('Add', [product, *bias], call.name)


def activation(draft: Draft, call: Call) -> str:
    """Apply the function that `act_type` names."""
    kind = call.get('act_type')
    if kind not in FUNCTIONS:
        raise call.refuse(f'there is no rule for act_type={kind!r}')
    return draft.operator(FUNCTIONS[kind], call.inputs, call.name)


FUNCTIONS = {
    'relu': 'Relu',
    'sigmoid': 'Sigmoid',
    'tanh': 'Tanh',
    'softrelu': 'Softplus',
    'softsign': 'Softsign',
}


def leaky_relu(draft: Draft, call: Call) -> str:
    """Rectify in one of the ways that MXNet calls so."""
    kind = call.get('act_type', 'leaky')
    if kind not in RECTIFIERS:
        raise call.refuse(f'there is no rule for act_type={kind!r}')
    return RECTIFIERS[kind](draft, call)


def _prelu(draft: Draft, call: Call) -> str:
    """Give the slopes an axis for each that the data has behind the channels.

    ONNX aligns them with the last axis, and would take (C,) for the columns wherever the map is C wide.
    """
    data, slopes = call.inputs
    shape = (prod(dim or 1 for dim in call.shapes[1]), *(1,) * (len(call.shapes[0]) - 2))
    held = draft.array(slopes)
    if held is None:
        slopes = draft.reshape(call, slopes, shape, f'{call.name}_slopes')
    else:
        slopes = draft.constant(f'{slopes}_per_channel', held.reshape(shape))
    return draft.operator('PRelu', [data, slopes], call.name)


def _gelu(draft: Draft, call: Call) -> str:
    """Compute x times the normal distribution function, which has an operator of its own from opset 20 on."""
    (data,) = call.inputs
    scaled = scalar(draft, 'Mul', data, 1 / sqrt(2), f'{call.name}_scaled')
    erf = draft.operator('Erf', [scaled], f'{call.name}_erf')
    twice = scalar(draft, 'Add', erf, 1.0, f'{call.name}_twice')
    product = draft.operator('Mul', [data, twice], f'{call.name}_product')
    return scalar(draft, 'Mul', product, 0.5, call.name)


RECTIFIERS: Dict[str, Callable[[Draft, Call], str]] = {
    'leaky': lambda draft, call: draft.operator(
        'LeakyRelu', call.inputs, call.name, alpha=call.get('slope', SLOPE)
    ),
    'elu': lambda draft, call: draft.operator('Elu', call.inputs, call.name, alpha=call.get('slope', SLOPE)),
    'selu': lambda draft, call: draft.operator('Selu', call.inputs, call.name),
    'prelu': _prelu,
    'gelu': _gelu,
}


def pooling(draft: Draft, call: Call) -> str:
    """Pool windows, or whole maps; MXNet's 'full' convention is more padding behind, which no average counts."""
    _check_layout(call)
    kind = call.get('pool_type', 'max')
    if kind not in POOLINGS:
        raise call.refuse(f'there is no rule for pool_type={kind!r}')
    if call.flag('global_pool'):
        return draft.operator(f'Global{POOLINGS[kind]}', call.inputs, call.name)
    windows = _windows(call)
    pad = [each.pad for each in windows]
    behind = [each.beyond for each in windows]
    if any(each.pad + each.beyond >= each.kernel for each in windows):
        raise call.refuse('a window of it lies outside of the map')
    counted = int(call.flag('count_include_pad', True)) if kind == 'avg' else None
    cut = counted and any(behind)
    pooled = draft.operator(
        POOLINGS[kind],
        call.inputs,
        f'{call.name}_uncut' if cut else call.name,
        kernel_shape=[each.kernel for each in windows],
        strides=[each.stride for each in windows],
        pads=(*pad, *(p + b for p, b in zip(pad, behind))),
        count_include_pad=counted,
    )
    if not cut:
        return pooled
    # An operator Pad before it would do, too, but onnxruntime 1.19 merges the two and then counts wrongly.
    shares = reduce(np.multiply.outer, [each.shares for each in windows])
    return draft.operator('Div', [pooled, draft.constant(f'{call.name}_shares', shares)], call.name)


POOLINGS = {'max': 'MaxPool', 'avg': 'AveragePool'}


class Window(NamedTuple):
    """How a pooling's windows lie along one axis of a map, in pixels."""

    side: int  # of the map
    windows: int
    kernel: int
    stride: int
    pad: int

    @property
    def beyond(self) -> int:
        """By how much the last window reaches beyond the padding."""
        return max(0, (self.windows - 1) * self.stride + self.kernel - self.side - 2 * self.pad)

    @property
    def shares(self) -> np.ndarray:
        """Which share of each window lies on the map and its padding."""
        ends = np.arange(self.windows) * self.stride + self.kernel
        return 1 - np.maximum(0, ends - self.side - 2 * self.pad) / self.kernel


def _windows(call: Call) -> List[Window]:
    kernel = call.get('kernel')
    stride = call.get('stride') or (1,) * len(kernel)
    pad = call.get('pad') or (0,) * len(kernel)
    sides, counts = ([side or 0 for side in dims[0][2:]] for dims in (call.shapes, call.outputs))
    return [Window(*numbers) for numbers in zip(sides, counts, kernel, stride, pad)]


def l2_normalization(draft: Draft, call: Call) -> str:
    """Divide by the norm over what `mode` names: all of an image, its channels, or its positions."""
    axes = len(call.shapes[0])
    modes = {'instance': range(1, axes), 'channel': range(1, 2), 'spatial': range(2, axes)}
    mode = call.get('mode', 'instance')
    return divide_by_norm(draft, call.inputs[0], modes[mode], call.name, eps=call.get('eps', L2_EPS))


def divide_by_norm(draft: Draft, data: str, axes: Sequence[int], name: str, *, eps: float = L2_EPS) -> str:
    """Divide a tensor by sqrt(eps + its sum of squares over these axes), as MXNet's L2Normalization does."""
    squared = draft.operator('Mul', [data, data], f'{name}_squared')
    over = draft.constant(f'{name}_axes', list(axes), np.int64)
    total = draft.operator('ReduceSum', [squared, over], f'{name}_sum', keepdims=1)
    kept = scalar(draft, 'Add', total, eps, f'{name}_kept')
    norm = draft.operator('Sqrt', [kept], f'{name}_norm')
    return draft.operator('Div', [data, norm], name)


def scalar(draft: Draft, op: str, data: str, value: float, name: str, *, first: bool = False) -> str:
    """Apply an operator of two inputs to a tensor and a number; first: the number is the left one."""
    number = draft.constant(f'{name}_scalar', np.float32(value))
    return draft.operator(op, [number, data] if first else [data, number], name)


def _check_layout(call: Call) -> None:
    layout = call.get('layout')
    if layout not in PLAIN_LAYOUTS:
        raise call.refuse(f'its layout is {layout}, and ONNX has the channels on axis 1')


LAYERS: Dict[str, Rule] = {
    'Convolution': convolution,
    'BatchNorm': batch_norm,
    'FullyConnected': fully_connected,
    'Activation': activation,
    'LeakyReLU': leaky_relu,
    'Pooling': pooling,
    'L2Normalization': l2_normalization,
}
