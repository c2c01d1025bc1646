"""Networks for other programs: an ONNX file, which is written only where it computes what MXNet does.

    check = export_onnx('runs/r50/model', 10, 'r50.onnx', options=Options(normalise=True))

The file holds the network up to its embedding, for batches of any size, with its weights, and says what it takes
(`recognition.export.onnx.metadata.read_metadata`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from config.checks import EMBEDDING
from config.compat import physical_cores
from config.errors import CheckpointError
from recognition.checkpoint.matching import as_numpy, check_finite, set_parameters
from recognition.checkpoint.network import Saved, check_float32, load_embedding, load_network, wrap_symbol
from recognition.data.images import channels_first
from recognition.engines.base import Shape, Wanted, embed_as
from recognition.engines.model import OUTPUT_LAYER, Model
from recognition.engines.onnxruntime_engine import OnnxRuntimeEngine
from recognition.engines.pixel_rules import settle
from recognition.engines.record import checkpoint_record, shape_of
from recognition.export.onnx.builder import load_onnx
from recognition.export.onnx.converter import OPSET, to_onnx
from recognition.export.onnx.front import INSIDE, OUTSIDE, check_pixels, hide_arithmetic, take_front
from recognition.export.onnx.metadata import check_origin, describe_network, put_metadata, read_metadata
from recognition.export.parity import Check, Faces, Probes, Run, Tracer, compare, draw_probes
from recognition.tracing.points import trace_each
from recognition.tracing.symbol_trace import trace_symbol
from recognition.utils.files import PathLike, remove_leftovers, replacing
from recognition.utils.run_paths import params_path, symbol_path
from symbols.passes.optimize import optimize

import mxnet as mx

__all__ = ['OPSET', 'PLAIN', 'Check', 'Options', 'check_origin', 'export_onnx', 'read_metadata']


@dataclass(frozen=True)
class Options:
    """What an exported network does beside embedding.

    normalise: its embeddings have the length 1. uint8_nhwc: it takes images as they are decoded, uint8 (N, H, W, 3) in
    RGB. fold: batch norms are multiplied into the convolutions beside them, where that is exact. pixels: 'inside' where
    it takes them in 0..255 and normalises them itself; 'outside' where it takes (x - 127.5) / 127.5 of them.
    """

    normalise: bool = False
    uint8_nhwc: bool = False
    fold: bool = False
    pixels: str = INSIDE


PLAIN = Options()
UNKNOWN: Mapping[str, str] = MappingProxyType({})


def export_onnx(
    prefix: PathLike,
    epoch: int,
    output: PathLike,
    *,
    options: Options = PLAIN,
    image_shape: Wanted = None,
    faces: Optional[Faces] = None,
    output_layer: Optional[str] = None,
    provenance: Mapping[str, str] = UNKNOWN,
) -> Check:
    """Write a checkpoint's embedding network as an ONNX file, and return how far it is from MXNet's numbers.

    image_shape: (H, W, C) of its images; None: as recorded beside the checkpoint, or 112x112. output_layer: the layer
    that gives the embedding; None: fc1, or the only output. faces: what to compare on beside noise, see
    `export.parity.draw_probes`. provenance: `license` and `origin` of the weights, where they are others than recorded
    beside the checkpoint. Raises CheckpointError, and writes nothing, where the checkpoint
    is missing, damaged or not finite, or onnxruntime's numbers are off; ConfigError for a network that ONNX cannot
    have, or of images of another size; MissingExtra where onnx or onnxruntime is not installed.
    """
    load_onnx()
    OnnxRuntimeEngine.load_package()
    ready = prepare(prefix, epoch, options, image_shape, faces, output_layer, provenance)
    remove_leftovers(output)
    with replacing(output, CheckpointError) as temporary:
        temporary.write_bytes(ready.content)
        model = settle(Model('onnx', temporary), faces=True).model
        threads = physical_cores()  # onnxruntime's own count ignores what the process may use
        try:
            engine = OnnxRuntimeEngine(model, None, threads)
        except CheckpointError as error:  # which names the temporary file
            reason = str(error).partition(': ')[2]
            raise CheckpointError(f'onnxruntime does not take the exported network: {reason}') from error
        run = embed_as(engine, ready.told['embedding_shape'])
        return compare(run, ready.reference, ready.probes, (engine.trace, ready.trace))


class Prepared(NamedTuple):
    """An ONNX file's content, not checked, and what to check it on."""

    content: bytes
    told: Dict[str, Any]  # what the file says of itself
    reference: Run
    probes: Probes
    trace: Tracer  # of the reference


def prepare(
    prefix: PathLike,
    epoch: int,
    options: Options,
    image_shape: Wanted,
    faces: Optional[Faces] = None,
    output_layer: Optional[str] = None,
    provenance: Mapping[str, str] = UNKNOWN,
) -> Prepared:
    """Read a checkpoint and make the content of its ONNX file; arguments and errors as in `export_onnx`."""
    check_pixels(options.pixels, uint8_nhwc=options.uint8_nhwc)
    if options.normalise and output_layer is None:
        checkpoint_record(prefix).check_kind(EMBEDDING, f'{prefix},{epoch}')
    saved, shape, run, trace = open_checkpoint(prefix, epoch, image_shape, output_layer, options)
    probes = draw_probes(shape, faces)
    told = describe_network(prefix, epoch, saved.symbol, asdict(options), shape, provenance)
    if output_layer is not None:  # what is recorded is of the network's own output
        told = {key: value for key, value in told.items() if key not in ('kind', 'classes', 'config')}
        told[OUTPUT_LAYER] = output_layer
    return Prepared(_content(saved, options, shape, told), told, run, probes, trace)


class Opened(NamedTuple):
    """A checkpoint to export: what it holds, the (H, W, C) of its images, what gives its output and its trace."""

    saved: Saved
    image_shape: Shape
    run: Run
    trace: Tracer


def open_checkpoint(
    prefix: PathLike,
    epoch: int,
    image_shape: Wanted,
    output_layer: Optional[str] = None,
    options: Options = PLAIN,
) -> Opened:
    """Read a checkpoint and check that it is whole, finite and in float32; arguments and errors as in `export_onnx`."""
    saved = load_embedding(prefix, epoch, output_layer)
    check_float32(saved.symbol, symbol_path(prefix))
    shape = shape_of(Model('checkpoint', Path(prefix), epoch, output_layer), image_shape)
    net = load_network(prefix, epoch, image_shape=shape, output=output_layer)
    check_finite(saved.values, saved.values, params_path(prefix, epoch))
    return Opened(saved, shape, run_mxnet(net, options), trace_network(saved.symbol, saved.values))


def trace_network(symbol: mx.sym.Symbol, values: Mapping[str, Any]) -> Tracer:
    """Return a function of images uint8 (N, H, W, C) that gives the trace of a network in MXNet."""
    return lambda images: trace_each(channels_first(images), partial(trace_symbol, symbol, values))


def run_symbol(symbol: mx.sym.Symbol, values: Mapping[str, Any], options: Options = PLAIN) -> Run:
    """Return a function of images uint8 (N, H, W, C) that gives what a network computes in MXNet."""
    block = wrap_symbol(symbol)
    set_parameters(block, values, mx.cpu())
    return run_mxnet(block, options)


def run_mxnet(net: Any, options: Options = PLAIN) -> Run:
    """Return a function of images uint8 (N, H, W, C) that gives what an exported network should."""

    def run(images: np.ndarray) -> np.ndarray:
        embeddings = net(mx.nd.array(channels_first(images))).asnumpy()
        if not options.normalise:
            return embeddings
        return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-10)

    return run


def _content(saved: Saved, options: Options, image_shape: Sequence[int], told: Mapping[str, Any]) -> bytes:
    """Return the bytes of the file."""
    held = {name: as_numpy(value) for name, value in saved.values.items()}
    symbol, values, steps = take_front(saved.symbol, held, options.pixels)
    if options.fold:
        symbol, values = optimize(symbol, values, {'data': (1, image_shape[2], *image_shape[:2])})
    settings = {'normalise': options.normalise, 'uint8_nhwc': options.uint8_nhwc}
    model = to_onnx(symbol, values, image_shape, steps=steps, **settings)
    if options.pixels == OUTSIDE:
        hide_arithmetic(model)
    put_metadata(model, told)
    return bytes(model.SerializeToString())
