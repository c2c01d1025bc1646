"""A checkpoint rewritten for inference (`symbols.passes`), written once it is seen to compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional

from config.errors import CheckpointError
from recognition.checkpoint.network import load_embedding, load_network, save_network
from recognition.data.images import channels_first
from recognition.engines.base import Wanted
from recognition.engines.model import Model
from recognition.engines.mxnet_executor import Bound, load_optimized, on_cpu
from recognition.engines.record import beside, shape_of
from recognition.export.onnx_export import run_mxnet, trace_network
from recognition.export.parity import Check, Faces, compare, draw_probes
from recognition.utils.files import PathLike, replacing
from recognition.utils.run_paths import check_prefix, classes_path, config_path, origin_path, symbol_path
from symbols.ir.rewriter import describe

import mxnet as mx


class Done(NamedTuple):
    """How far a rewritten network is off, and how many operators there were and are."""

    check: Check
    before: int
    after: int


def export_optimized(
    prefix: PathLike,
    epoch: int,
    output: PathLike,
    *,
    for_mxnet: bool = True,
    image_shape: Wanted = None,
    faces: Optional[Faces] = None,
    output_layer: Optional[str] = None,
) -> Done:
    """Write a checkpoint's embedding network, rewritten for inference, as a checkpoint; return how it was checked.

    output: prefix of the new one, which has the same epoch, and a copy of the origin, and of the config and class names
    where no `output_layer` is named, of which they say nothing. Arguments and errors as in
    `recognition.export.export_onnx`: nothing is written where the numbers are not the network's own.
    """
    check_prefix(output)
    if symbol_path(output).resolve() == symbol_path(prefix).resolve():
        raise CheckpointError(f'{output} is the checkpoint itself; choose another prefix')
    shape = shape_of(Model('checkpoint', Path(prefix), epoch, output_layer), image_shape)
    rewritten = load_optimized(prefix, epoch, shape, for_mxnet=for_mxnet, output=output_layer)
    net = load_network(prefix, epoch, image_shape=shape, output=output_layer)
    probes = draw_probes(shape, faces)
    bound = Bound(*rewritten)
    saved = load_embedding(prefix, epoch, output_layer)
    layers = trace_network(*rewritten), trace_network(saved.symbol, saved.values)
    check = compare(lambda images: bound(channels_first(images)), run_mxnet(net), probes, layers)
    save_network(output, epoch, rewritten.symbol, *on_cpu(*rewritten))
    for name in (config_path, classes_path):
        _copy(beside(prefix, name) if output_layer is None else None, name(output))
    _copy(beside(prefix, origin_path), origin_path(output))
    return Done(check, _operators(saved.symbol), _operators(rewritten.symbol))


def _copy(source: Optional[Path], output: Path) -> None:
    """Copy what records the images, the kind or the classes of a network; what an older one left there goes."""
    if source is None:
        output.unlink(missing_ok=True)
        return
    with replacing(output, CheckpointError) as temporary:
        temporary.write_bytes(source.read_bytes())


def _operators(symbol: mx.sym.Symbol) -> int:
    return sum(node['op'] != 'null' for node in describe(symbol)['nodes'])
