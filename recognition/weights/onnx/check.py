"""Comparison of a network here with the ONNX file that its values came from, as onnxruntime runs it."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Mapping, Sequence

import numpy as np

from config.errors import CheckpointError
from recognition.checkpoint.matching import BODY, WHOLE, parts_of, set_parameters
from recognition.checkpoint.network import wrap_symbol
from recognition.tracing import explain
from recognition.tracing.onnx_trace import trace_onnx
from recognition.tracing.symbol_trace import trace_symbol
from recognition.utils.files import PathLike
from recognition.utils.packages import require
from recognition.utils.pixels import RAW, Pixels
from recognition.weights.conversion import Converted
from recognition.weights.onnx.reader import OnnxFile, front_of, load_file, match_file, parse

import mxnet as mx

# Of the largest value. Another eps or scale of the pixels moves an embedding by 2e-4 and more; rounding by 5e-6 in
# iresnets of 18 to 100 layers, by 2e-5 where batch norms of tiny variances are folded into the file's weights, and by
# 3e-5 in the logits of a ResNet-50 with random weights.
TOLERANCE = 1e-4
SILENT = 4  # onnxruntime's level of logging for what ends the process; an error is raised as well as logged
QUIET = 'ORT_DISABLE_TELEMETRY'
FORMS = ('the file', 'the network here')
TINY = np.finfo(np.float32).tiny


def file_difference(
    path: PathLike, cfg: Mapping[str, Any], sets: Sequence[np.ndarray], converted: Converted
) -> float:
    """Return how far the outputs of a file and of its conversion are apart, relative to the largest value.

    Those of the backbones where the head is not the file's. sets: uint8 images (N, H, W, C). Raises CheckpointError
    where that is more than rounding, and where onnxruntime cannot run the file; MissingExtra where it is not installed.
    """
    file = load_file(path)
    whole = converted.report.ok
    matched = match_file(file, cfg, WHOLE if whole else BODY)[1]
    symbol = converted.symbol if whole else parts_of(cfg).body
    values = {**converted.args, **converted.auxs}
    block = wrap_symbol(symbol)
    set_parameters(block, values, mx.cpu())
    content = _content(path, '' if whole else matched.end)
    session, front = _session(file, content), front_of(cfg) if file.inside == RAW else file.outside or RAW
    apart = 0.0
    for images in sets:
        ours = block(_ours(images)).asnumpy()
        if matched.normalised:
            ours = ours / np.linalg.norm(ours, axis=1, keepdims=True)
        rows = [_run(file, session, _theirs(file, session, front, one[None])) for one in images]
        theirs = np.concatenate(rows).reshape(ours.shape)
        apart = max(apart, float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), TINY)))
        if not apart <= TOLERANCE:  # NaN is too far, too
            data = _theirs(file, session, front, images[:1])
            alike = _ours(np.repeat(images[:1], len(data), axis=0)).asnumpy()
            traces = partial(trace_onnx, content, data), partial(trace_symbol, symbol, values, alike)
            first = explain(*traces, FORMS, TOLERANCE)
            raise CheckpointError(
                f'the outputs of {file.path} and of the network here are {apart:.2g} of the largest value apart '
                f'(at most {TOLERANCE:g} passes), so nothing is written{first}'
            )
    return apart


def _content(path: PathLike, end: str) -> bytes:
    """Return a file with the values that are beside it; end: the tensor that is its output, '' for its own."""
    model = parse(path)
    if end:
        from onnx.helper import make_empty_tensor_value_info

        model.graph.ClearField('output')
        model.graph.output.append(make_empty_tensor_value_info(end))
    content: bytes = model.SerializeToString()
    return content


def _session(file: OnnxFile, content: bytes) -> Any:
    os.environ.setdefault(QUIET, '1')
    runtime = require('onnxruntime', 'onnx', 'the comparison of an ONNX file with what is made of it')
    settings = runtime.SessionOptions()
    settings.log_severity_level = SILENT
    # which may fold batch norms, in float32
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(content, settings, providers=['CPUExecutionProvider'])
    except Exception as error:  # its errors have no class of their own in common
        raise CheckpointError(f'{file.path} is damaged: onnxruntime cannot load it') from error


def _ours(images: np.ndarray) -> mx.nd.NDArray:
    return mx.nd.array(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), dtype='float32')


def _theirs(file: OnnxFile, session: Any, front: Pixels, images: np.ndarray) -> np.ndarray:
    """Return one uint8 image (1, H, W, C) as the file takes it, in a batch that is full.

    front: what its caller does to the pixels.
    """
    batch = session.get_inputs()[0].shape[0]
    pixels = images.astype(np.float32)
    if front.order == 'bgr':
        pixels = pixels[..., ::-1]
    pixels = ((pixels - np.asarray(front.mean)) * np.asarray(front.scale)).astype(np.float32)
    data = np.repeat(images if file.as_bytes else pixels, batch if isinstance(batch, int) else 1, axis=0)
    return np.ascontiguousarray(data.transpose(0, 3, 1, 2) if file.planes else data)


def _run(file: OnnxFile, session: Any, data: np.ndarray) -> np.ndarray:
    """Return what the file gives for the first image of a batch."""
    try:
        return np.asarray(session.run(None, {session.get_inputs()[0].name: data})[0])[:1]
    except Exception as error:
        raise CheckpointError(f'{file.path} is damaged: onnxruntime cannot run it') from error
