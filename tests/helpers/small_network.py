"""One small network as all the files that engines read: a checkpoint, an ONNX file, ncnn's pair."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recognition.utils.pixels import CENTRED, RAW, Pixels

import mxnet as mx

HEIGHT, WIDTH, SIZE = 14, 12, 8
SHAPE = (HEIGHT, WIDTH, 3)
PLANES = (3, HEIGHT, WIDTH)
MEAN, SCALE = 127.5, 1 / 128
STATISTICS = Pixels((123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375))  # ImageNet's


class Values(NamedTuple):
    """Weights of `fc1 = weight (x - MEAN) SCALE + bias`, x flattened."""

    weight: np.ndarray
    bias: np.ndarray

    def embed(self, images):
        """Return the embeddings (N, SIZE) of uint8 images (N, HEIGHT, WIDTH, 3), as numpy makes them."""
        pixels = (np.asarray(images, np.float64).transpose(0, 3, 1, 2) - MEAN) * SCALE
        return pixels.reshape(len(pixels), -1) @ self.weight.T.astype(np.float64) + self.bias


def make_values(seed=0) -> Values:
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 0.1, (SIZE, 3 * HEIGHT * WIDTH)).astype(np.float32)
    return Values(weight, rng.normal(0, 0.1, SIZE).astype(np.float32))


def write_checkpoint(prefix, epoch, values: Values) -> str:
    data = (mx.sym.var('data') - MEAN) * SCALE
    symbol = mx.sym.FullyConnected(mx.sym.Flatten(data), num_hidden=SIZE, name='fc1')
    args = {'fc1_weight': mx.nd.array(values.weight), 'fc1_bias': mx.nd.array(values.bias)}
    mx.model.save_checkpoint(str(prefix), epoch, symbol, args, {})
    return f'{prefix},{epoch}'


def write_onnx(
    path, values: Values, *, as_bytes=False, batch='N', metadata=None, size=(HEIGHT, WIDTH)
) -> Path:
    kind = TensorProto.UINT8 if as_bytes else TensorProto.FLOAT
    shape = [batch, *size, 3] if as_bytes else [batch, 3, *size]
    nodes = [
        helper.make_node('Cast', ['data'], ['float'], to=TensorProto.FLOAT),
        helper.make_node('Transpose', ['float'], ['planes'], perm=[0, 3, 1, 2] if as_bytes else [0, 1, 2, 3]),
        helper.make_node('Sub', ['planes', 'mean'], ['centred'], name='Sub_2'),
        helper.make_node('Mul', ['centred', 'scale'], ['scaled'], name='Mul_3'),
        helper.make_node('Flatten', ['scaled'], ['flat']),
        helper.make_node('Gemm', ['flat', 'weight', 'bias'], ['fc1'], transB=1),
    ]
    constants = {
        'mean': np.float32(MEAN),
        'scale': np.float32(SCALE),
        'weight': values.weight,
        'bias': values.bias,
    }
    graph = helper.make_graph(
        nodes,
        'small',
        [helper.make_tensor_value_info('data', kind, shape)],
        [helper.make_tensor_value_info('fc1', TensorProto.FLOAT, [batch, SIZE])],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return Path(path)


def fitted(values, pixels):
    """Return weight (SIZE, 3, H, W) and bias that give the same for images that `pixels` prepared."""
    weight = values.weight.reshape(SIZE, *PLANES).astype(np.float64)
    if pixels.order == 'bgr':
        weight = weight[:, ::-1]
    mean, scale = (np.broadcast_to(each, 3).reshape(3, 1, 1) for each in pixels[:2])
    bias = values.bias + (weight * (mean - MEAN) * SCALE).sum(axis=(1, 2, 3))
    return weight * SCALE / scale, bias


def write_ncnn(path, values: Values, pixels=RAW) -> Path:
    """Write PATH.param and PATH.bin; the scaling is folded into the weights."""
    weight, bias = (each.astype(np.float32) for each in fitted(values, pixels))
    lines = [
        '7767517',
        '2 2',
        'Input data 0 1 data',
        f'InnerProduct fc1 1 1 data fc1 0={SIZE} 1=1 2={weight.size}',
    ]
    Path(f'{path}.param').write_text('\n'.join(lines) + '\n')
    tag = np.zeros(1, np.uint32)  # the weights are float32
    Path(f'{path}.bin').write_bytes(tag.tobytes() + weight.tobytes() + bias.tobytes())
    return Path(f'{path}.param')


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
    """Write the network as others do, for pixels of its own, and return the path.

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
    shape = numpy_helper.from_array(np.array([0, *gives[1:]]), 'shape')
    held = [numpy_helper.from_array(np.asarray(each, np.float32), name) for name, each in constants.items()]
    declared = helper.make_tensor_value_info
    graph = helper.make_graph(
        _foreign_nodes(ports, inside, extra),
        'foreign',
        [declared(ports[0], kind, sides), *(declared(e.name, 1, e.dims) for e in held if kept)],
        [*(declared(each, 1, gives) for each in extra), declared(ports[1], 1, gives)],
        [*held, shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return Path(path)


def _foreign_nodes(ports, inside, extra):
    nodes = [helper.make_node('Cast', [ports[0]], ['float'], name='Cast_0', to=TensorProto.FLOAT)]
    if inside:
        nodes.append(helper.make_node('Sub', ['float', 'mean'], ['centred'], name=inside[0]))
        nodes.append(helper.make_node('Mul', ['centred', 'scale'], ['scaled'], name=inside[1]))
    return [
        *nodes,
        helper.make_node('Flatten', [nodes[-1].output[0]], ['flat'], name='Flatten_1'),
        helper.make_node('Gemm', ['flat', 'weight', 'bias'], ['row'], name='Gemm_2', transB=1),
        helper.make_node('Reshape', ['row', 'shape'], [ports[1]], name='Reshape_3'),
        *(helper.make_node('Neg', ['row'], [each]) for each in extra),
    ]


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


class Small(NamedTuple):
    """The network and its files."""

    values: Values
    checkpoint: str
    onnx: str
    ncnn: str


def write_all(folder: Path, seed=0) -> Small:
    values = make_values(seed)
    return Small(
        values,
        write_checkpoint(folder / 'model', 7, values),
        str(write_onnx(folder / 'net.onnx', values)),
        str(write_ncnn(folder / 'net.ncnn', values)),
    )
