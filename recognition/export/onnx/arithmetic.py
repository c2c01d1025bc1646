"""MXNet's arithmetic and changes of shape in ONNX, a rule for each as in `recognition.export.onnx.layers`."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from recognition.export.onnx.builder import Call, Draft
from recognition.export.onnx.layers import Rule, scalar

END, BEGINNING = np.iinfo(np.int64).max, np.iinfo(np.int64).min  # where a slice goes as far as there is
CHANNELS, COLOURS = 1, 3  # axis of the channels of images (N, C, H, W), and how many RGB images have
# MXNet's names of types: the number that ONNX has for each
TYPES = {'float32': 1, 'uint8': 2, 'int8': 3, 'int32': 6, 'int64': 7, 'float16': 10, 'float64': 11}


def _same(draft: Draft, call: Call) -> str:
    """Leave out an operator that changes nothing outside of training."""
    return call.inputs[0]


def _dropout(draft: Draft, call: Call) -> str:
    if call.get('mode', 'training') != 'training':
        raise call.refuse('it drops values outside of training, too')
    return call.inputs[0]


def _plain(op: str, draft: Draft, call: Call) -> str:
    return draft.operator(op, call.inputs, call.name)


def _scalar(op: str, draft: Draft, call: Call, *, first: bool = False) -> str:
    return scalar(draft, op, call.inputs[0], float(call.get('scalar')), call.name, first=first)


def _normalise(draft: Draft, call: Call) -> str:
    """Subtract the mean of each channel and divide by its deviation, (N, C, H, W) to the same."""
    values = {key: np.reshape(_tuple(call.get(key)), (-1, 1, 1)) for key in ('mean', 'std')}
    mean, deviation = (draft.constant(f'{call.name}_{key}', value) for key, value in values.items())
    centred = draft.operator('Sub', [*call.inputs, mean], f'{call.name}_centred')
    return draft.operator('Div', [centred, deviation], call.name)


def _clip(draft: Draft, call: Call) -> str:
    bounds = [draft.constant(f'{call.name}_{key}', np.float32(call.get(key))) for key in ('a_min', 'a_max')]
    return draft.operator('Clip', [*call.inputs, *bounds], call.name)


def _cast(draft: Draft, call: Call) -> str:
    dtype = call.get('dtype')
    if dtype not in TYPES:
        raise call.refuse(f'there is no rule for dtype={dtype!r}')
    return draft.operator('Cast', call.inputs, call.name, to=TYPES[dtype])


def _concat(draft: Draft, call: Call) -> str:
    return draft.operator('Concat', call.inputs, call.name, axis=call.get('dim', 1))


def _softmax(draft: Draft, call: Call) -> str:
    if call.get('temperature') not in (None, 1.0) or call.flag('use_length'):
        raise call.refuse('it has a temperature or lengths')
    return draft.operator('Softmax', call.inputs, call.name, axis=call.get('axis', -1))


def _reduce(op: str, draft: Draft, call: Call) -> str:
    """Reduce over the axes; MXNet keeps one axis where all are reduced."""
    if op == 'ReduceL2' and call.get('ord', 2) != 2:
        raise call.refuse('its norm is not the Euclidean one')
    count = len(call.shapes[0])
    given = call.get('axis')
    axes = list(range(count)) if given in (None, ()) else [given] if isinstance(given, int) else list(given)
    if call.flag('exclude'):
        axes = [axis for axis in range(count) if axis not in {each % count for each in axes}]
    keep = call.flag('keepdims')
    whole = not keep and len(axes) == count
    name = f'{call.name}_whole' if whole else call.name
    if op == 'ReduceSum':  # the first to take its axes as an input
        over = draft.constant(f'{call.name}_axes', axes, np.int64)
        reduced = draft.operator(op, [*call.inputs, over], name, keepdims=int(keep))
    else:
        reduced = draft.operator(op, call.inputs, name, axes=axes, keepdims=int(keep))
    return draft.reshape(call, reduced, (1,), call.name) if whole else reduced


def _flatten(draft: Draft, call: Call) -> str:
    return draft.operator('Flatten', call.inputs, call.name, axis=1)


def _reshape(draft: Draft, call: Call) -> str:
    """Give the shape that MXNet has inferred, so that all its codes for axes are known numbers."""
    return draft.reshape(call, call.inputs[0], call.outputs[0], call.name)


def _transpose(draft: Draft, call: Call) -> str:
    axes = call.get('axes') or tuple(reversed(range(len(call.shapes[0]))))
    return draft.operator('Transpose', call.inputs, call.name, perm=axes)


def _swap_axes(draft: Draft, call: Call) -> str:
    axes = list(range(len(call.shapes[0])))
    one, other = call.get('dim1', 0), call.get('dim2', 0)
    axes[one], axes[other] = axes[other], axes[one]
    return draft.operator('Transpose', call.inputs, call.name, perm=axes)


def _slice(draft: Draft, call: Call) -> str:
    begin, end = call.get('begin'), call.get('end')
    steps = [step or 1 for step in call.get('step') or (None,) * len(begin)]
    return _cut(draft, call, range(len(begin)), begin, end, steps)


def _slice_axis(draft: Draft, call: Call) -> str:
    return _cut(draft, call, [call.get('axis')], [call.get('begin')], [call.get('end')], [1])


def _reverse(draft: Draft, call: Call) -> str:
    """Turn axes around."""
    given = call.get('axis')
    axes = (given,) if isinstance(given, int) else tuple(given)
    if axes == (CHANNELS,) and call.shapes[0][CHANNELS] == COLOURS:  # ncnn has no slice of step -1
        names = [f'{call.name}_{channel}' for channel in range(COLOURS)]
        sizes = draft.constant(
            f'{call.name}_sizes', [1] * COLOURS, np.int64
        )  # without them pnnx makes no slices
        parts = draft.operators('Split', [*call.inputs, sizes], names, axis=CHANNELS)
        return draft.operator('Concat', parts[::-1], call.name, axis=CHANNELS)
    nothing = [None] * len(axes)
    return _cut(draft, call, axes, nothing, nothing, [-1] * len(axes))


def _pad(draft: Draft, call: Call) -> str:
    """Surround with zeros: MXNet counts before and behind axis by axis, ONNX all before and then all behind."""
    if call.get('mode', 'constant') != 'constant' or call.get('constant_value', 0):
        raise call.refuse('it pads with something else than zeros')
    width = call.get('pad_width')
    pads = draft.constant(f'{call.name}_pads', [*width[::2], *width[1::2]], np.int64)
    return draft.operator('Pad', [*call.inputs, pads], call.name, mode='constant')  # named, as pnnx wants it


def _cut(
    draft: Draft,
    call: Call,
    axes: Sequence[int],
    begin: Sequence[Optional[int]],
    end: Sequence[Optional[int]],
    steps: Sequence[int],
) -> str:
    starts = [(0 if step > 0 else -1) if at is None else at for at, step in zip(begin, steps)]
    ends = [(END if step > 0 else BEGINNING) if at is None else at for at, step in zip(end, steps)]
    parts: Dict[str, Sequence[Any]] = {
        'starts': starts,
        'ends': ends,
        'axes': list(axes),
        'steps': list(steps),
    }
    numbers = [draft.constant(f'{call.name}_{key}', value, np.int64) for key, value in parts.items()]
    return draft.operator('Slice', [*call.inputs, *numbers], call.name)


def _split(draft: Draft, call: Call) -> List[str]:
    count, axis = call.get('num_outputs'), call.get('axis', 1)
    if call.flag('squeeze_axis'):
        raise call.refuse('it drops the axis that it splits')
    return draft.operators('Split', call.inputs, [f'{call.name}_{i}' for i in range(count)], axis=axis)


def _broadcast_like(draft: Draft, call: Call) -> str:
    if call.get('lhs_axes') is not None or call.get('rhs_axes') is not None:
        raise call.refuse('it spreads out some axes alone')
    data, like = call.inputs
    shape = draft.operator('Shape', [like], f'{call.name}_shape')
    return draft.operator('Expand', [data, shape], call.name)


def _broadcast_axis(draft: Draft, call: Call) -> str:
    pairs = [_tuple(call.get(key)) for key in ('axis', 'size')]
    sizes = [1] * len(call.shapes[0])
    for axis, size in zip(*pairs):
        sizes[axis] = size
    return draft.operator(
        'Expand', [*call.inputs, draft.constant(f'{call.name}_sizes', sizes, np.int64)], call.name
    )


def _tuple(value: Any) -> Tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _named(rule: Any, **names: str) -> Dict[str, Rule]:
    return {name: partial(rule, op) for name, op in names.items()}


ARITHMETIC: Dict[str, Rule] = {
    **dict.fromkeys(('_copy', 'BlockGrad', 'make_loss'), _same),
    'Dropout': _dropout,
    **_named(_plain, relu='Relu', sigmoid='Sigmoid', tanh='Tanh', softsign='Softsign', erf='Erf'),
    **_named(_plain, sqrt='Sqrt', exp='Exp', log='Log', abs='Abs', negative='Neg', add_n='Sum'),
    **_named(_plain, elemwise_add='Add', elemwise_sub='Sub', elemwise_mul='Mul', elemwise_div='Div'),
    **_named(_plain, broadcast_add='Add', broadcast_sub='Sub', broadcast_mul='Mul', broadcast_div='Div'),
    **_named(_plain, broadcast_maximum='Max', broadcast_minimum='Min', broadcast_power='Pow'),
    **_named(_plain, _maximum='Max', _minimum='Min', _power='Pow'),
    'square': lambda draft, call: draft.operator('Mul', call.inputs * 2, call.name),
    **_named(_scalar, _plus_scalar='Add', _minus_scalar='Sub', _mul_scalar='Mul', _div_scalar='Div'),
    **_named(_scalar, _maximum_scalar='Max', _minimum_scalar='Min', _power_scalar='Pow'),
    **_named(partial(_scalar, first=True), _rminus_scalar='Sub', _rdiv_scalar='Div', _rpower_scalar='Pow'),
    **_named(_reduce, mean='ReduceMean', sum='ReduceSum', max='ReduceMax', min='ReduceMin', norm='ReduceL2'),
    '_image_normalize': _normalise,
    'clip': _clip,
    'Cast': _cast,
    'Concat': _concat,
    'softmax': _softmax,
    'Flatten': _flatten,
    **dict.fromkeys(('Reshape', 'expand_dims', 'squeeze'), _reshape),
    'transpose': _transpose,
    'SwapAxis': _swap_axes,
    'slice': _slice,
    'slice_axis': _slice_axis,
    'reverse': _reverse,
    'Pad': _pad,
    'SliceChannel': _split,
    'broadcast_like': _broadcast_like,
    'broadcast_axis': _broadcast_axis,
}
