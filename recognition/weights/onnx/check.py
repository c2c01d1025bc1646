"""How far a network here is from the ONNX file that its values came from, as onnxruntime runs it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any, Mapping, Optional, Sequence

import numpy as np

from config.errors import CheckpointError
from recognition.checkpoint.matching import set_parameters
from recognition.checkpoint.network import wrap_symbol
from recognition.utils.files import PathLike
from recognition.utils.packages import require
from recognition.weights.conversion import Converted
from recognition.weights.onnx.front import RAW, Front
from recognition.weights.onnx.reader import OnnxFile, front_of, load_file, match_file

import mxnet as mx

# Of the largest value. Rounding reaches 2e-5 where batch norms of tiny variances are folded; another eps or scale of
# the pixels moves an embedding by 2e-4 and more.
TOLERANCE = 1e-4
SILENT = 4  # onnxruntime's level of logging for what ends the process; an error is raised as well as logged
QUIET = 'ORT_DISABLE_TELEMETRY'
TINY = np.finfo(np.float32).tiny


def file_difference(
    path: PathLike, cfg: Mapping[str, Any], sets: Sequence[np.ndarray], converted: Converted
) -> Optional[float]:
    """Return how far the outputs of a file and of its conversion are apart, relative to the largest value.

    sets: uint8 images (N, H, W, C). None where onnxruntime is not installed, or the head is not the file's. Raises
    CheckpointError where it is more than TOLERANCE, and where onnxruntime cannot run the file.
    """
    if find_spec('onnxruntime') is None or not converted.report.ok:
        return None
    file = load_file(path)
    normalised = match_file(file, cfg)[1].normalised
    block = wrap_symbol(converted.symbol)
    set_parameters(block, {**converted.args, **converted.auxs}, mx.cpu())
    session, front = _session(file), front_of(cfg) if file.inside == RAW else file.outside or RAW
    apart = 0.0
    for images in sets:
        data = mx.nd.array(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), dtype='float32')
        ours = block(data).asnumpy()
        if normalised:
            ours = ours / np.linalg.norm(ours, axis=1, keepdims=True)
        theirs = np.concatenate([_run(file, session, front, one[None]) for one in images]).reshape(ours.shape)
        apart = max(apart, float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), TINY)))
        if not apart <= TOLERANCE:  # NaN is too far, too
            raise CheckpointError(
                f'the outputs of {file.path} and of the network here are {apart:.2g} of the largest value apart '
                f'(at most {TOLERANCE:g} passes), so nothing is written'
            )
    return apart


def _session(file: OnnxFile) -> Any:
    os.environ.setdefault(QUIET, '1')
    runtime = require('onnxruntime', 'onnx', 'running an ONNX file')
    settings = runtime.SessionOptions()
    settings.log_severity_level = SILENT
    try:
        return runtime.InferenceSession(str(file.path), settings, providers=['CPUExecutionProvider'])
    except Exception as error:  # its errors have no class of their own in common
        raise CheckpointError(f'{file.path} is damaged: onnxruntime does not load it') from error


def _run(file: OnnxFile, session: Any, front: Front, images: np.ndarray) -> np.ndarray:
    """Return what the file gives for one uint8 image (1, H, W, C), in a batch that is full.

    front: what its caller does to the pixels.
    """
    port = session.get_inputs()[0]
    pixels = images.astype(np.float32)
    if front.order == 'bgr':
        pixels = pixels[..., ::-1]
    pixels = ((pixels - np.asarray(front.mean)) * np.asarray(front.scale)).astype(np.float32)
    batch = port.shape[0] if isinstance(port.shape[0], int) else 1
    data = np.repeat(images if file.as_bytes else pixels, batch, axis=0)
    if file.planes:
        data = data.transpose(0, 3, 1, 2)
    try:
        return np.asarray(session.run(None, {port.name: np.ascontiguousarray(data)})[0])[:1]
    except Exception as error:
        raise CheckpointError(f'{file.path} is damaged: onnxruntime cannot run it') from error
