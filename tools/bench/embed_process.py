"""The process of one contender of `tools.bench.embed`: it opens a network its own way and embeds batches.

    python -m tools.bench.embed_process openvino FOLDER 2

Every contender takes uint8 images (N, H, W, 3), FOLDER/faces.npy, and gives float32 embeddings, which go to
FOLDER/openvino.npy before the first turn. Each imports what it needs alone.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable, Mapping, Tuple

import numpy as np

from recognition.data.images import channels_first
from recognition.engines.base import Shape
from recognition.engines.model import Model
from tools.bench.contenders import AS_IT_COMES, PLAIN
from tools.bench.saved import load_graph, load_values
from tools.bench.turns import claim_output, serve

Embed = Callable[[np.ndarray], np.ndarray]
GEMM_SIDE = 2048  # of the square matrices that are multiplied


def _plain(folder: Path, faces: np.ndarray, threads: int) -> Embed:
    """Return MXNet as InsightFace's code uses it."""
    mx, symbol, arrays = _mxnet(folder / 'plain')
    module = mx.mod.Module(symbol, label_names=None, context=mx.cpu())
    module.bind([('data', channels_first(faces).shape)], for_training=False)
    states = set(symbol.list_auxiliary_states())
    module.set_params(
        {name: value for name, value in arrays.items() if name not in states},
        {name: value for name, value in arrays.items() if name in states},
    )

    def embed(images: np.ndarray) -> np.ndarray:
        module.forward(mx.io.DataBatch([mx.nd.array(channels_first(images))]), is_train=False)
        return np.asarray(module.get_outputs()[0].asnumpy())

    return embed


def _rewritten(folder: Path, faces: np.ndarray, threads: int) -> Embed:
    """Return MXNet with the network rewritten for it."""
    from recognition.engines.mxnet_executor import Bound

    _, symbol, arrays = _mxnet(folder / 'rewritten')
    bound = Bound(symbol, {name: value.asnumpy() for name, value in arrays.items()})
    return lambda images: bound(channels_first(images))


def _mxnet(prefix: Path) -> Tuple[Any, Any, Mapping[str, Any]]:
    """Return mxnet, and a saved network's symbol and values."""
    import mxnet as mx

    arrays = {name: mx.nd.array(value) for name, value in load_values(prefix).items()}
    return mx, mx.sym.load(f'{prefix}.json'), arrays


def _shape(faces: np.ndarray) -> Shape:
    height, width, channels = faces.shape[1:]
    return height, width, channels


def _onnxruntime(folder: Path, faces: np.ndarray, threads: int, *, file: str) -> Embed:
    from recognition.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(Model('onnx', folder / file), _shape(faces), threads).embed


def _openvino(folder: Path, faces: np.ndarray, threads: int, *, name: str) -> Embed:
    from recognition.engines import ENGINES

    return ENGINES[name](Model('onnx', folder / 'folded.onnx'), _shape(faces), threads).embed


def _ncnn(folder: Path, faces: np.ndarray, threads: int) -> Embed:
    from recognition.engines.ncnn_engine import NcnnEngine

    return NcnnEngine(Model('ncnn', folder / 'folded.ncnn'), _shape(faces), threads).embed


def _torch(folder: Path, faces: np.ndarray, threads: int) -> Embed:
    """Return PyTorch in the layout that is fastest there."""
    import torch

    from tools.bench.torch_network import build_torch

    torch.set_num_threads(threads)
    network: Any = build_torch(load_graph(folder / 'plain'), load_values(folder / 'plain')).eval()
    network = network.to(memory_format=torch.channels_last)

    def embed(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():  # (N, H, W, C) with its axes renamed is what channels-last means
            return np.asarray(network(torch.from_numpy(images).permute(0, 3, 1, 2).float()))

    return embed


def _gemm(folder: Path, faces: np.ndarray, threads: int) -> Embed:
    """Return the product of two dense matrices, which takes no notice of the images."""
    one, other = np.random.default_rng(0).random((2, GEMM_SIDE, GEMM_SIDE), np.float32)
    return lambda images: one @ other


CONTENDERS: Mapping[str, Callable[[Path, np.ndarray, int], Embed]] = {
    PLAIN: _plain,
    AS_IT_COMES: _plain,
    'mxnet': _rewritten,
    'onnxruntime plain': partial(_onnxruntime, file='plain.onnx'),
    'onnxruntime': partial(_onnxruntime, file='folded.onnx'),
    'openvino': partial(_openvino, name='openvino'),
    'openvino-bf16': partial(_openvino, name='openvino-bf16'),
    'ncnn': _ncnn,
    'torch': _torch,
    'gemm': _gemm,
}


def main(name: str, folder: str, threads: str) -> None:
    """Open the contender, write its embeddings and take turns."""
    replies = claim_output()
    faces = np.load(Path(folder, 'faces.npy'))
    embed = CONTENDERS[name](Path(folder), faces, int(threads))
    np.save(Path(folder, f'{name}.npy'), embed(faces))
    serve(replies, lambda: embed(faces))


if __name__ == '__main__':
    main(*sys.argv[1:])
