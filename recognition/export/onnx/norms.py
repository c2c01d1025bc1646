"""MXNet's normalisations and softmaxes in ONNX, a rule for each as in `recognition.export.onnx.layers`."""

from __future__ import annotations

from functools import partial
from typing import Dict

from recognition.export.onnx.builder import Call, Draft, Steps
from recognition.export.onnx.layers import NORM_EPS, Rule

EPS = 1e-5  # of LayerNorm and GroupNorm


def _instance_norm(draft: Draft, call: Call) -> str:
    if len(call.shapes[0]) < 3:
        raise call.refuse('its input has no axis behind the channels')
    eps = call.get('eps', NORM_EPS)
    return draft.operator('InstanceNormalization', call.inputs, call.name, epsilon=eps)


def _group_norm(draft: Draft, call: Call) -> str:
    """Normalise each group as one channel; MXNet 1.9 has a gamma and a beta for each group, not each channel."""
    groups, eps = call.get('num_groups', 1), call.get('eps', EPS)

    def formula(do: Steps, data: str, *scales: str) -> str:
        split = do('Reshape', data, [0, groups, -1])
        normal = do('InstanceNormalization', split, *scales, epsilon=eps)
        return do('Reshape', normal, [-1, *call.outputs[0][1:]])

    return draft.finish(call, formula)


def _layer_norm(draft: Draft, call: Call) -> str:
    """Normalise one axis, which ONNX has last."""
    axes = list(range(len(call.shapes[0])))
    axis = call.get('axis', -1) % len(axes)
    axes[axis], axes[-1] = axes[-1], axes[axis]
    last = axis == len(axes) - 1

    def formula(do: Steps, data: str, *scales: str) -> str:
        turned = data if last else do('Transpose', data, perm=axes)
        normal = do('LayerNormalization', turned, *scales, axis=-1, epsilon=call.get('eps', EPS))
        return normal if last else do('Transpose', normal, perm=axes)

    return draft.finish(call, formula)


def _local_response(draft: Draft, call: Call) -> str:
    defaults = {'alpha': 1e-4, 'beta': 0.75, 'knorm': 2.0}  # MXNet's
    alpha, beta, bias = (float(call.get(key, value)) for key, value in defaults.items())
    return draft.operator(
        'LRN', call.inputs, call.name, alpha=alpha, beta=beta, bias=bias, size=call.get('nsize')
    )


def _softmax(op: str, draft: Draft, call: Call, *, sign: int = 1) -> str:
    if call.flag('use_length'):
        raise call.refuse('it takes lengths, which the Softmax of ONNX does not have')
    factor = sign / (call.get('temperature') or 1)

    def formula(do: Steps, data: str) -> str:
        scaled = data if factor == 1 else do('Mul', data, float(factor))
        return do(op, scaled, axis=call.get('axis', -1))

    return draft.finish(call, formula)


def _class_softmax(draft: Draft, call: Call) -> str:
    """Give the probabilities of classes along axis 1, or of each row; a label does not change them."""
    axis = 1 if call.get('mode') == 'channel' or call.flag('multi_output') or len(call.shapes[0]) == 2 else -1
    if axis == -1 and not call.flag('preserve_shape'):
        raise call.refuse('MXNet computes its softmax of whole images on one device and of rows on another')
    return draft.operator('Softmax', call.inputs[:1], call.name, axis=axis)


NORMS: Dict[str, Rule] = {
    'InstanceNorm': _instance_norm,
    'GroupNorm': _group_norm,
    'LayerNorm': _layer_norm,
    'LRN': _local_response,
    'softmax': partial(_softmax, 'Softmax'),
    'softmin': partial(_softmax, 'Softmax', sign=-1),
    'log_softmax': partial(_softmax, 'LogSoftmax'),
    **dict.fromkeys(('SoftmaxActivation', 'SoftmaxOutput'), _class_softmax),
}
