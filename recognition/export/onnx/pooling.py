"""MXNet's poolings in ONNX, a rule for each as in `recognition.export.onnx.layers`."""

from __future__ import annotations

from functools import reduce
from typing import Dict, List, NamedTuple

import numpy as np

from recognition.export.onnx.builder import Call, Draft
from recognition.export.onnx.layers import Rule, check_layout

POOLINGS = {'max': 'MaxPool', 'avg': 'AveragePool', 'sum': 'AveragePool', 'lp': 'LpPool'}
OF_MAPS = {'max': 'GlobalMaxPool', 'avg': 'GlobalAveragePool', 'lp': 'GlobalLpPool'}
CONVENTIONS = ('valid', 'full')


def pooling(draft: Draft, call: Call) -> str:
    """Pool windows, or whole maps; MXNet's 'full' convention is more padding behind, which no average counts."""
    check_layout(call)
    kind = _kind(call)
    if call.flag('global_pool'):
        return _pool_maps(draft, call, kind)
    windows = _windows(call)
    pad = [each.pad for each in windows]
    behind = [each.beyond for each in windows]
    if any(each.pad + each.beyond >= each.kernel for each in windows):
        raise call.refuse('a window of it lies outside of the map')
    counted = {'avg': int(call.flag('count_include_pad', True)), 'sum': 1}.get(kind)
    clipped = kind == 'avg' and counted and any(behind)
    settings = {
        'kernel_shape': [each.kernel for each in windows],
        'strides': [each.stride for each in windows],
        'pads': (*pad, *(p + b for p, b in zip(pad, behind))),
        'count_include_pad': counted,
        'p': 2 if kind == 'lp' else None,
    }
    if not clipped and kind != 'sum':
        return draft.operator(POOLINGS[kind], call.inputs, call.name, **settings)
    # An operator Pad before it would do, too, but onnxruntime 1.19 merges the two and then counts wrongly.
    shares = reduce(np.multiply.outer, [each.shares if clipped else 1 / each.kernel for each in windows])
    return draft.finish(call, lambda do, x: do('Div', do(POOLINGS[kind], x, **settings), np.float32(shares)))


def _kind(call: Call) -> str:
    """Return the kind of pooling; MXNet's norms raise the values, not their sizes, to the power p."""
    kind, power = call.get('pool_type', 'max'), call.get('p_value', 2)
    if kind not in POOLINGS or (kind == 'lp' and power not in (1, 2)):
        raise call.refuse(f'pool_type={kind!r}{f" of {power}" if kind == "lp" else ""} is not supported')
    if call.get('pooling_convention', 'valid') not in CONVENTIONS:
        raise call.refuse(f'pooling_convention={call.get("pooling_convention")!r} is not supported')
    return 'sum' if kind == 'lp' and power == 1 else kind


def _pool_maps(draft: Draft, call: Call, kind: str) -> str:
    if kind == 'sum':
        axes = list(range(2, len(call.shapes[0])))
        return draft.finish(call, lambda do, x: do('ReduceSum', x, axes, keepdims=1))
    power = {'p': 2} if kind == 'lp' else {}
    return draft.operator(OF_MAPS[kind], call.inputs, call.name, **power)


def adaptive(draft: Draft, call: Call) -> str:
    """Average windows that cover the map: of one size where that divides it, else by a matrix for each axis."""
    sides, wanted = ([side or 0 for side in dims[0][2:]] for dims in (call.shapes, call.outputs))
    if wanted == [1, 1]:
        return draft.operator('GlobalAveragePool', call.inputs, call.name)
    if all(side % count == 0 for side, count in zip(sides, wanted)):
        kernel = [side // count for side, count in zip(sides, wanted)]
        return draft.operator('AveragePool', call.inputs, call.name, kernel_shape=kernel, strides=kernel)
    rows, columns = (_averages(side, count) for side, count in zip(sides, wanted))
    return draft.finish(call, lambda do, x: do('MatMul', do('MatMul', rows, x), columns.T))


def _averages(side: int, count: int) -> np.ndarray:
    """Return the (count, side) shares that the pixels have in each window (adaptive_avg_pooling.cc)."""
    at = np.arange(side)
    first, last = (np.arange(count) * side // count, -(-(np.arange(count) + 1) * side // count))
    inside = (at >= first[:, None]) & (at < last[:, None])
    return np.asarray(inside / inside.sum(1, keepdims=True), np.float32)


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


POOLS: Dict[str, Rule] = {
    'Pooling': pooling,
    '_contrib_AdaptiveAvgPooling2D': adaptive,
}
