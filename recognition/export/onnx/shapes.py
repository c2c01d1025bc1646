"""MXNet's changes of shape in ONNX, a rule for each as in `recognition.export.onnx.layers`.

They take values of any type.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from recognition.export.onnx.builder import Call, Draft, Steps, known
from recognition.export.onnx.layers import Rule, plain

END, BEGINNING = np.iinfo(np.int64).max, np.iinfo(np.int64).min  # where a slice goes as far as there is
CHANNELS, COLOURS = 1, 3  # axis of the channels of images (N, C, H, W), and how many RGB images have
# MXNet's names of types: the number that ONNX has for each
TYPES = {'float32': 1, 'uint8': 2, 'int8': 3, 'int32': 6, 'int64': 7, 'float16': 10, 'float64': 11}


def _cast(draft: Draft, call: Call) -> str:
    dtype = call.get('dtype')
    if dtype not in TYPES:
        raise call.refuse(f'dtype={dtype!r} is not supported')
    return draft.operator('Cast', call.inputs, call.name, to=TYPES[dtype])


def _stack(draft: Draft, call: Call) -> str:
    axis = call.get('axis', 0)
    return draft.finish(
        call, lambda do, *parts: do('Concat', *(do('Unsqueeze', each, [axis]) for each in parts), axis=axis)
    )


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


def _cut_to_output(draft: Draft, call: Call) -> str:
    """Keep of each axis what the output has, from the beginning or, for Crop, from its offset or around the centre."""
    pairs = [pair for pair in enumerate(zip(call.shapes[0], call.outputs[0])) if len({*pair[1]}) == 2]
    if any(kept is None for _, (_, kept) in pairs):
        raise call.refuse('it keeps as many as there are images in the batch')
    sides = [(axis, *known(pair)) for axis, pair in pairs]
    offsets = dict(zip((2, 3), call.get('offset', (0, 0))))
    centred = call.flag('center_crop')
    begin = [(side - kept) // 2 if centred else offsets.get(axis, 0) for axis, side, kept in sides]
    ends = [at + kept for at, (_, _, kept) in zip(begin, sides)]
    return _cut(draft, call, [axis for axis, *_ in sides], begin, ends, [1] * len(sides))


def _reverse(draft: Draft, call: Call) -> str:
    """Turn axes around."""
    given = call.get('axis')
    axes = (given,) if isinstance(given, int) else tuple(given)
    if axes == (CHANNELS,) and call.shapes[0][CHANNELS] == COLOURS:  # ncnn has no slice of step -1
        names = [f'{call.name}_{channel}' for channel in range(COLOURS)]
        # without the sizes pnnx makes no slices
        sizes = draft.constant(f'{call.name}_sizes', [1] * COLOURS, np.int64)
        parts = draft.operators('Split', [*call.inputs, sizes], names, axis=CHANNELS)
        return draft.operator('Concat', parts[::-1], call.name, axis=CHANNELS)
    nothing = [None] * len(axes)
    return _cut(draft, call, axes, nothing, nothing, [-1] * len(axes))


def _pad(draft: Draft, call: Call) -> str:
    """Surround: MXNet counts before and behind axis by axis, ONNX all before and then all behind."""
    width, mode = call.get('pad_width'), call.get('mode', 'constant')
    value = call.get('constant_value', 0)
    pads = draft.constant(f'{call.name}_pads', [*width[::2], *width[1::2]], np.int64)
    filler = [draft.constant(f'{call.name}_value', np.float32(value))] if value and mode == 'constant' else []
    # the mode is given even where it is ONNX's default, as pnnx wants it
    return draft.operator('Pad', [*call.inputs, pads, *filler], call.name, mode=mode)


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
    return draft.operator('Slice', [call.inputs[0], *numbers], call.name)


def _split(draft: Draft, call: Call) -> List[str]:
    """Cut into parts of the sizes that MXNet has inferred; pnnx makes no slices where they are not given."""
    first = 1 if call.node.operator == 'SliceChannel' else 0
    axis, squeezed = call.get('axis', first) % len(call.shapes[0]), call.flag('squeeze_axis')
    lengths = [1 if squeezed else shape[axis] for shape in call.outputs]
    if None in lengths:
        raise call.refuse('it splits the batch')
    sizes = draft.constant(f'{call.name}_sizes', lengths, np.int64)
    names = [f'{call.name}_{i}{"_kept" if squeezed else ""}' for i in range(len(lengths))]
    parts = draft.operators('Split', [*call.inputs, sizes], names, axis=axis)
    if not squeezed:
        return parts
    axes = draft.constant(f'{call.name}_axes', [axis], np.int64)
    return [draft.operator('Squeeze', [part, axes], f'{call.name}_{i}') for i, part in enumerate(parts)]


def _broadcast(draft: Draft, call: Call) -> str:
    """Repeat along the axes of size 1 that the output has longer."""
    sizes = [1 if a == b else b for a, b in zip(call.shapes[0], call.outputs[0])]
    if None in sizes:
        raise call.refuse('it repeats along the batch')
    return draft.finish(call, lambda do, x: do('Expand', x, sizes), call.inputs[0])


def _broadcast_like(draft: Draft, call: Call) -> str:
    if call.get('lhs_axes') is not None:
        return _broadcast(draft, call)
    return draft.finish(call, lambda do, x, like: do('Expand', x, do('Shape', like)))


def _tile(draft: Draft, call: Call) -> str:
    """Repeat the whole of each axis; more repetitions than there are axes make new ones before them."""
    given, dims = call.get('reps'), call.shapes[0]
    repeats = (given,) if isinstance(given, int) else given
    more = len(repeats) - len(dims)
    data = call.inputs[0]
    if more > 0:
        data = draft.reshape(call, data, (*[1] * more, *dims), f'{call.name}_wide')
    return draft.finish(call, lambda do, x: do('Tile', x, [*[1] * -more, *repeats]), data)


def _repeat(draft: Draft, call: Call) -> str:
    """Repeat each value of an axis, or of the whole as one row."""
    axis, count = call.get('axis'), len(call.shapes[0])
    times = [1] * ((1 if axis is None else count) + 1)
    at = 1 if axis is None else axis % count + 1
    times[at] = call.get('repeats')
    shape = [-1 if dim is None else dim for dim in call.outputs[0]]

    def formula(do: Steps, data: str) -> str:
        row = do('Reshape', data, [-1]) if axis is None else data
        return do('Reshape', do('Tile', do('Unsqueeze', row, [at]), times), shape)

    if shape.count(-1) > 1:
        raise call.refuse('more than one axis of its output grows with the batch')
    return draft.finish(call, formula)


SHAPES: Dict[str, Rule] = {
    '_copy': lambda draft, call: call.inputs[0],
    'Cast': _cast,
    'Concat': plain('Concat', lambda call: {'axis': call.get('dim', 1)}),
    'stack': _stack,
    'Flatten': plain('Flatten', lambda call: {'axis': 1}),
    **dict.fromkeys(('Reshape', 'reshape_like', 'expand_dims', 'squeeze'), _reshape),
    'transpose': _transpose,
    'SwapAxis': _swap_axes,
    'slice': _slice,
    'slice_axis': _slice_axis,
    **dict.fromkeys(('slice_like', 'Crop'), _cut_to_output),
    'reverse': _reverse,
    'Pad': _pad,
    **dict.fromkeys(('SliceChannel', '_split_v2'), _split),
    'broadcast_like': _broadcast_like,
    **dict.fromkeys(('broadcast_axis', 'broadcast_to'), _broadcast),
    'tile': _tile,
    'repeat': _repeat,
    'depth_to_space': plain('DepthToSpace', lambda call: {'blocksize': call.get('block_size')}),
    'space_to_depth': plain('SpaceToDepth', lambda call: {'blocksize': call.get('block_size')}),
}
