"""The small network in ONNX files as others write them, each for pixels of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recognition.engines.pixels import CENTRED, RAW, Pixels
from tests.helpers.small_network import HEIGHT, PLANES, SIZE, WIDTH, fitted

STATISTICS = Pixels((123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375))  # ImageNet's


def write_foreign(
    path,
    values,
    pixels=CENTRED,
    *,
    sides=('None', *PLANES),
    ports=('input.1', '683'),
    gives=(1, SIZE),
    inside=(),
    kind=TensorProto.FLOAT,
    kept=False,
    extra=(),
    metadata=None,
):
    """Write a file and return its path.

    sides, gives: the shapes that it declares; ports: the names of its input and output. inside: names of a Sub and a
    Mul that centre the pixels in it. kept: its weights are inputs, too, as older writers have it. extra: names of
    outputs before the embedding.
    """
    weight, bias = fitted(values, CENTRED if inside else pixels)
    last = sides[-1] == 3
    constants = {
        'weight': (weight.transpose(0, 2, 3, 1) if last else weight).reshape(SIZE, -1),
        'bias': bias,
        'mean': np.float32(127.5),
        'scale': np.float32(1 / 127.5),
    }
    steps = [helper.make_node('Cast', [ports[0]], ['float'], name='Cast_0', to=TensorProto.FLOAT)]
    if inside:
        steps.append(helper.make_node('Sub', ['float', 'mean'], ['centred'], name=inside[0]))
        steps.append(helper.make_node('Mul', ['centred', 'scale'], ['scaled'], name=inside[1]))
    shape = numpy_helper.from_array(np.array([0, *gives[1:]]), 'shape')
    steps += [
        helper.make_node('Flatten', [steps[-1].output[0]], ['flat'], name='Flatten_1'),
        helper.make_node('Gemm', ['flat', 'weight', 'bias'], ['row'], name='Gemm_2', transB=1),
        helper.make_node('Reshape', ['row', 'shape'], [ports[1]], name='Reshape_3'),
        *(helper.make_node('Neg', ['row'], [each]) for each in extra),
    ]
    held = [numpy_helper.from_array(np.asarray(each, np.float32), name) for name, each in constants.items()]
    declared = helper.make_tensor_value_info
    graph = helper.make_graph(
        steps,
        'foreign',
        [declared(ports[0], kind, sides), *(declared(e.name, 1, e.dims) for e in held if kept)],
        [*(declared(each, 1, gives) for each in extra), declared(ports[1], 1, gives)],
        [*held, shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return Path(path)


IMAGES = ('N', *PLANES)
BYTES = {'kind': TensorProto.UINT8, 'pixels': RAW, 'gives': ('N', SIZE)}
FORMS = {
    'InsightFace, w600k_r50': {},
    'InsightFace, glintr100, one image': {'sides': (1, *PLANES), 'ports': ('input.1', '1333')},
    'arcface_torch': {'sides': IMAGES, 'ports': ('input', 'output'), 'gives': ('N', SIZE)},
    'MXNet': {'pixels': RAW, 'inside': ('_minusscalar0', '_mulscalar0'), 'ports': ('data', 'fc1')},
    'torch of old, normalised inside': {'pixels': RAW, 'inside': ('Sub_2', 'Mul_5'), 'sides': IMAGES},
    'channels last': {'sides': ('N', HEIGHT, WIDTH, 3), 'gives': ('N', SIZE)},
    'one image, channels last': {'sides': (1, HEIGHT, WIDTH, 3)},
    'weights among the inputs': {'kept': True},
    'a map of one pixel': {'gives': ('N', SIZE, 1, 1)},
    'a map of one pixel, one image': {'sides': (1, *PLANES), 'gives': (1, SIZE, 1, 1)},
    'bytes': {**BYTES, 'sides': IMAGES},
    'bytes, channels last': {**BYTES, 'sides': ('N', HEIGHT, WIDTH, 3)},
    'open sides': {'sides': ('N', 3, 'height', 'width')},
}
