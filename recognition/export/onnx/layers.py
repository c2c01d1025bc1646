"""MXNet's layers in ONNX: a rule for each, which adds what computes the same and returns the name of its output."""

from __future__ import annotations

from dataclasses import replace
from math import prod, sqrt
from typing import Any, Callable, Dict, List, Sequence, Union

import numpy as np

from recognition.export.onnx.builder import Call, Draft, Steps
from recognition.weights.onnx.steps import FUNCTIONS

Result = Union[str, List[str]]
Rule = Callable[[Draft, Call], Result]

PLAIN_LAYOUTS = (None, 'None', 'NCW', 'NCHW', 'NCDHW')
NORM_EPS, L2_EPS, SLOPE = 1e-3, 1e-10, 0.25  # MXNet's defaults
BOUNDS = (('lower_bound', 0.125), ('upper_bound', 0.334))  # of the slopes of rrelu


def plain(
    op: str, settings: Callable[[Call], Dict[str, Any]] = lambda call: {}
) -> Callable[[Draft, Call], str]:
    """Return the rule of an operator that ONNX has, too, with settings made of the call's."""
    return lambda draft, call: draft.operator(op, call.inputs, call.name, **settings(call))


def convolution(draft: Draft, call: Call) -> str:
    """Convolve, padded with as many zeros before as behind."""
    check_layout(call)
    return draft.operator('Conv', call.inputs, call.name, **_window(call), group=call.get('num_group', 1))


def deconvolution(draft: Draft, call: Call) -> str:
    """Convolve transposed; a `target_shape` says how much is cut off, half of it before and half behind.

    MXNet ignores pad and adj then (deconvolution-inl.h, InferPad).
    """
    check_layout(call)
    settings, beyond = _window(call), call.get('adj')
    target = call.get('target_shape')
    if target:
        strides, kernel, dilations = (settings[key] for key in ('strides', 'kernel_shape', 'dilations'))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
        cut = [
            step * ((side or 0) - 1) + k - wanted
            for step, side, k, wanted in zip(strides, call.shapes[0][2:], reach, target)
        ]
        beyond = [each % 2 for each in cut]
        settings['pads'] = [(each + 1) // 2 for each in cut] * 2
    return draft.operator(
        'ConvTranspose',
        call.inputs,
        call.name,
        **settings,
        output_padding=beyond or None,
        group=call.get('num_group', 1),
    )


def _window(call: Call) -> Dict[str, Sequence[int]]:
    kernel = call.get('kernel')
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    pad = call.get('pad') or zeros
    return {
        'kernel_shape': kernel,
        'strides': call.get('stride') or ones,
        'dilations': call.get('dilate') or ones,
        'pads': (*pad, *pad),
    }


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
        raise call.refuse(f'act_type={kind!r} is not supported')
    return draft.operator(FUNCTIONS[kind], call.inputs, call.name)


def leaky_relu(draft: Draft, call: Call) -> str:
    """Rectify in one of the ways that MXNet calls so."""
    kind = call.get('act_type', 'leaky')
    if kind not in RECTIFIERS:
        raise call.refuse(f'act_type={kind!r} is not supported')
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


def _gelu(do: Steps, data: str) -> str:
    """Compute x times the normal distribution function, which has an operator of its own from opset 20 on."""
    erf = do('Erf', do('Mul', data, 1 / sqrt(2)))
    return do('Mul', do('Mul', data, do('Add', erf, 1.0)), 0.5)


RECTIFIERS: Dict[str, Callable[[Draft, Call], str]] = {
    'leaky': plain('LeakyRelu', lambda call: {'alpha': call.get('slope', SLOPE)}),
    'elu': plain('Elu', lambda call: {'alpha': call.get('slope', SLOPE)}),
    'selu': plain('Selu'),
    'prelu': _prelu,
    'gelu': lambda draft, call: draft.finish(call, _gelu),
    # outside of training its slope is the middle of those that it draws
    'rrelu': plain('LeakyRelu', lambda call: {'alpha': sum(call.get(*bound) for bound in BOUNDS) / 2}),
}


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


def check_layout(call: Call) -> None:
    """Raise ConfigError where the channels are not on axis 1."""
    layout = call.get('layout')
    if layout not in PLAIN_LAYOUTS:
        raise call.refuse(f'its layout is {layout}, and ONNX has the channels on axis 1')


LAYERS: Dict[str, Rule] = {
    **dict.fromkeys(('Convolution', 'Convolution_v1'), convolution),
    'Deconvolution': deconvolution,
    **dict.fromkeys(('BatchNorm', 'BatchNorm_v1', '_contrib_SyncBatchNorm'), batch_norm),
    '_contrib_BatchNormWithReLU': lambda draft, call: draft.operator(
        'Relu',
        [batch_norm(draft, replace(call, node=replace(call.node, name=f'{call.name}_norm')))],
        call.name,
    ),
    'FullyConnected': fully_connected,
    'Activation': activation,
    'LeakyReLU': leaky_relu,
    'L2Normalization': l2_normalization,
}
