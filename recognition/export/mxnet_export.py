"""A checkpoint for other programs of MXNet: its embedding network with each PReLU as one operator.

    export_mxnet('models/model', 1, 'models/plain')

`mx.model.save_checkpoint` writes a symbol as it was trained, where a PReLU is several operators
(`symbols.activations.PReLU`). InsightFace's symbols have LeakyReLU(act_type='prelu'), which its converters know, and so
have the checkpoints that `recognition.checkpoint.network.save_network` writes.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Iterator, Mapping, Optional

from config.errors import CheckpointError
from recognition.checkpoint.network import save_network
from recognition.engines.base import Wanted
from recognition.engines.mxnet_executor import on_cpu
from recognition.engines.record import beside, read_provenance, write_provenance
from recognition.export.onnx_export import open_checkpoint, run_symbol
from recognition.export.parity import Check, Faces, compare, draw_probes
from recognition.utils.files import PathLike, replacing
from recognition.utils.run_paths import (
    check_prefix,
    classes_path,
    config_path,
    origin_path,
    symbol_path,
)
from symbols.passes.prelu import as_operators


def export_mxnet(
    prefix: PathLike,
    epoch: int,
    output: PathLike,
    *,
    image_shape: Wanted = None,
    faces: Optional[Faces] = None,
    output_layer: Optional[str] = None,
    provenance: Mapping[str, str] = MappingProxyType({}),
) -> Check:
    """Write a checkpoint's embedding network under the prefix `output`, of the same epoch and with the same values.

    The config and the names of the classes are copied. Arguments and errors as in `recognition.export.export_onnx`.
    """
    check_other_prefix(prefix, output)
    saved, shape, run, _ = open_checkpoint(prefix, epoch, image_shape, output_layer)
    plain = as_operators(saved.symbol)
    check = compare(run_symbol(plain, saved.values), run, draw_probes(shape, faces))
    with copying_record(prefix, output, whole=output_layer is None):
        save_network(output, epoch, plain, *on_cpu(plain, saved.values))
    if provenance:
        write_provenance(output, {**read_provenance(prefix), **provenance})
    return check


def check_other_prefix(prefix: PathLike, output: PathLike) -> None:
    """Raise ConfigError for a prefix that cannot be, and CheckpointError for that of the checkpoint which is read."""
    check_prefix(output)
    if symbol_path(output).resolve() == symbol_path(prefix).resolve():
        raise CheckpointError(f'{output} is the checkpoint itself; choose another prefix')


@contextmanager
def copying_record(prefix: PathLike, output: PathLike, *, whole: bool = True) -> Iterator[None]:
    """Copy what records the origin of a network and, where it is whole, its images, kind and classes.

    The block saves the network: on a full disk neither then takes the place of an older one, whose record goes.
    """
    with ExitStack() as copies:
        for name in (config_path, classes_path, origin_path):
            source = beside(prefix, name) if whole or name == origin_path else None
            if source:
                temporary = copies.enter_context(replacing(name(output), CheckpointError))
                temporary.write_bytes(source.read_bytes())
        yield
        for name in (config_path, classes_path, origin_path):
            name(output).unlink(missing_ok=True)
