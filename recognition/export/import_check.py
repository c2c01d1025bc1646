"""How far a network here is from the file that its values came from, tried on noise and on faces."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from config.errors import CheckpointError
from recognition.checkpoint.matching import set_parameters
from recognition.checkpoint.network import Saved, wrap_symbol
from recognition.engines.base import checked_trace, embed_as
from recognition.engines.model import Model
from recognition.engines.onnxruntime_engine import OnnxRuntimeEngine
from recognition.export.onnx_export import PLAIN, Options, run_mxnet, trace_network
from recognition.export.parity import Run, Tracer, compare, draw_probes
from recognition.utils.files import PathLike
from recognition.utils.pixels import RAW, Pixels
from recognition.weights.conversion import Converted
from recognition.weights.onnx.reader import load_file, match_file
from symbols.context import computes_in_half

import mxnet as mx

NETWORK = 'this network'  # its name in errors


def checkpoint_difference(saved: Saved, image_shape: Sequence[int], converted: Converted) -> Optional[float]:
    """Return how far the embeddings of a checkpoint and of its conversion are apart, relative to the largest value.

    None where a CPU cannot compute them, or where not all values are the checkpoint's. Raises CheckpointError where
    that is more than rounding: with the same parameters, the layers are then connected otherwise.
    """
    halves = computes_in_half(saved.symbol) or computes_in_half(converted.symbol)
    wanted = {name for name in saved.symbol.list_inputs() if name != 'data'}
    if halves or not converted.report.ok or not wanted <= set(saved.values):
        return None
    theirs = _run(saved.symbol, saved.values), trace_network(saved.symbol, saved.values)
    try:
        return _difference(converted, image_shape, *theirs, 'the checkpoint')
    except CheckpointError as error:
        raise CheckpointError(f'{error}; name another preset') from error


def file_difference(path: PathLike, cfg: Mapping[str, Any], converted: Converted) -> Optional[float]:
    """Return how far the outputs of an ONNX file and of its conversion are apart, relative to the largest value.

    None where onnxruntime is not installed, or the head is not the file's. Raises CheckpointError where it is more than
    rounding, and where onnxruntime cannot run the file.
    """
    if find_spec('onnxruntime') is None or not converted.report.ok:
        return None
    file = load_file(path)
    height, width, channels = cfg['image_shape']
    pixels = Pixels.of(cfg) if file.inside == RAW else RAW
    engine = OnnxRuntimeEngine(Model('onnx', Path(path), pixels=pixels), (height, width, channels), None)
    ((_, *shape),) = converted.symbol.infer_shape(data=(1, channels, height, width))[1]
    theirs = embed_as(engine, shape), partial(checked_trace, engine)
    options = Options(normalise=match_file(file, cfg)[1].normalised)
    return _difference(converted, cfg['image_shape'], *theirs, 'the file', options)


def _run(symbol: mx.sym.Symbol, values: Mapping[str, Any], options: Options = PLAIN) -> Run:
    block = wrap_symbol(symbol)
    set_parameters(block, values, mx.cpu())
    return run_mxnet(block, options)


def _difference(
    converted: Converted,
    image_shape: Sequence[int],
    theirs: Run,
    trace: Tracer,
    name: str,
    options: Options = PLAIN,
) -> float:
    values = {**converted.args, **converted.auxs}
    ours = _run(converted.symbol, values, options)
    layers = trace_network(converted.symbol, values), trace
    return compare(ours, theirs, draw_probes(image_shape), layers, (name, NETWORK)).difference
