"""A checkpoint rewritten for inference (`symbols.passes`), written once it is seen to compute the same."""

from __future__ import annotations

from typing import NamedTuple, Optional

from recognition.checkpoint.network import save_network
from recognition.data.images import channels_first
from recognition.engines.base import Wanted
from recognition.engines.mxnet_executor import Bound, load_optimized, on_cpu
from recognition.export.mxnet_export import check_other_prefix, copying_record
from recognition.export.onnx_export import open_checkpoint, trace_network
from recognition.export.parity import Check, Faces, compare, draw_probes
from recognition.utils.files import PathLike
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
    check_other_prefix(prefix, output)
    saved, shape, run, trace = open_checkpoint(prefix, epoch, image_shape, output_layer)
    rewritten = load_optimized(prefix, epoch, shape, for_mxnet=for_mxnet, output=output_layer)
    bound, layers = Bound(*rewritten), (trace_network(*rewritten), trace)
    check = compare(lambda images: bound(channels_first(images)), run, draw_probes(shape, faces), layers)
    with copying_record(prefix, output, whole=output_layer is None):
        save_network(output, epoch, rewritten.symbol, *on_cpu(*rewritten))
    return Done(check, _operators(saved.symbol), _operators(rewritten.symbol))


def _operators(symbol: mx.sym.Symbol) -> int:
    return sum(node['op'] != 'null' for node in describe(symbol)['nodes'])
