"""MXNet's look-ups and constants in ONNX, a rule for each as in `recognition.export.onnx.layers`."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict

import numpy as np

from recognition.export.onnx.builder import BOOL, INT64, Call, Draft, Steps, known
from recognition.export.onnx.layers import Rule

import mxnet as mx


def _take(draft: Draft, call: Call) -> str:
    axis = call.get('axis', 0)
    count = call.shapes[0][axis]
    if count is None:
        raise call.refuse('it takes images out of the batch')
    return draft.finish(
        call, lambda do, x, at: do('Gather', x, _index(do, at, count, call.get('mode', 'clip')), axis=axis)
    )


def _embedding(draft: Draft, call: Call) -> str:
    count = call.get('input_dim')
    return draft.finish(
        call, lambda do, at, table: do('Gather', table, _clipped(do, do('Cast', at, to=INT64), count))
    )


def _pick(draft: Draft, call: Call) -> str:
    """Take one value of an axis, each at a place of its own."""
    axis, keep = call.get('axis', -1), call.flag('keepdims')
    count = known(call.shapes[0])[axis]

    def formula(do: Steps, data: str, at: str) -> str:
        whole = _index(do, at, count, call.get('mode', 'clip'))
        if len(call.shapes[1]) < len(call.shapes[0]):
            whole = do('Unsqueeze', whole, [axis])
        picked = do('GatherElements', data, whole, axis=axis)
        return picked if keep else do('Squeeze', picked, [axis])

    return draft.finish(call, formula)


def _index(do: Steps, at: str, count: int, mode: str) -> str:
    """Return indices as whole numbers within 0..count - 1, cut off there or counted around."""
    whole = do('Cast', at, to=INT64)
    return do('Mod', whole, np.int64(count)) if mode == 'wrap' else _clipped(do, whole, count)


def _clipped(do: Steps, whole: str, count: int) -> str:
    return do('Clip', whole, np.int64(0), np.int64(count - 1))


def _one_hot(draft: Draft, call: Call) -> str:
    """Compare with each class; ONNX's OneHot counts indices below 0 from behind, where MXNet has no class."""
    values = [np.float32(call.get(key, value)) for key, value in (('on_value', 1), ('off_value', 0))]
    classes = np.arange(call.get('depth'))
    if call.get('dtype', 'float32') != 'float32':
        raise call.refuse(f'dtype={call.get("dtype")!r} is not supported')
    return draft.finish(
        call,
        lambda do, at: do(
            'Where', do('Equal', do('Unsqueeze', do('Cast', at, to=INT64), [-1]), classes), *values
        ),
    )


def _where(draft: Draft, call: Call) -> str:
    """Choose value by value, or image by image where the condition has one axis."""
    axes = [len(shape) for shape in call.shapes]

    def formula(do: Steps, condition: str, *choices: str) -> str:
        true = do('Cast', condition, to=BOOL)
        if axes[0] < axes[1]:
            true = do('Reshape', true, [-1, *[1] * (axes[1] - 1)])
        return do('Where', true, *choices)

    return draft.finish(call, formula)


def _filled(value: float, draft: Draft, call: Call) -> str:
    return draft.finish(call, lambda do, x: do('Expand', np.float32(value), do('Shape', x)))


def _constant(draft: Draft, call: Call) -> str:
    """Compute in MXNet what depends on the settings alone, or on the size of a map."""
    if any(None in shape for shape in call.outputs) or call.get('dtype', 'float32') != 'float32':
        raise call.refuse('its size depends on the batch, or its type is not float32')
    module: Any = mx.nd._internal if hasattr(mx.nd._internal, call.node.operator) else mx.nd.contrib
    make = getattr(module, call.node.operator.replace('_contrib_', ''))
    settings = {**call.node.attributes}
    if 'shape' in settings:
        settings['shape'] = str(call.outputs[0])  # MXNet has found the sizes that are given as 0
    maps = [mx.nd.zeros(known(dims)) for dims in call.shapes]
    return draft.constant(call.name, make(*maps, **settings).asnumpy())


INDEXING: Dict[str, Rule] = {
    'take': _take,
    'Embedding': _embedding,
    'pick': _pick,
    'one_hot': _one_hot,
    'where': _where,
    'zeros_like': partial(_filled, 0),
    'ones_like': partial(_filled, 1),
    **dict.fromkeys(('_zeros', '_ones', '_full', '_arange', '_eye', '_linspace'), _constant),
    '_contrib_MultiBoxPrior': _constant,
}
