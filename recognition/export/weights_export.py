"""Networks as files of weights for PyTorch, Keras and safetensors, written only where they are read back the same.

    export_pytorch('runs/r50/model', 10, 'backbone.pth')

Each is of a checkpoint with its PREFIX-config.json, for the config says which network the weights are of.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Dict, Mapping, NamedTuple, Optional

import numpy as np

from config import Config, complete
from config.errors import CheckpointError, first_few
from recognition.checkpoint.layer_diff import check_same_layers
from recognition.checkpoint.matching import as_numpy, check_fit
from recognition.engines.base import Wanted
from recognition.engines.record import beside, read_provenance
from recognition.export.onnx.metadata import describe_network
from recognition.export.onnx_export import PLAIN, UNKNOWN, open_checkpoint, run_symbol
from recognition.export.parity import Check, Faces, Run, compare, draw_probes
from recognition.utils.files import PathLike, read_json, remove_leftovers, replacing
from recognition.utils.run_paths import config_path, params_path, symbol_path
from recognition.weights.arcface_torch import SETTINGS, read_arcface_torch, write_arcface_torch
from recognition.weights.conversion import convert
from recognition.weights.keras.mapping import read_keras
from recognition.weights.keras.writer import write_keras
from recognition.weights.safetensors_file import read_safetensors, write_safetensors
from symbols import get_symbol

import mxnet as mx

Arrays = Dict[str, np.ndarray]
MODEL_SUFFIX = '.keras'
NAMED = 3  # how many parameters an error names
LOST = ('opset', 'options')  # of an ONNX file alone


class Whole(NamedTuple):
    """A checkpoint that is known to be the network of its config."""

    cfg: Config
    symbol: mx.sym.Symbol
    values: Arrays
    run: Run


def export_pytorch(
    prefix: PathLike,
    epoch: int,
    output: PathLike,
    *,
    image_shape: Wanted = None,
    faces: Optional[Faces] = None,
    provenance: Mapping[str, str] = UNKNOWN,
) -> Check:
    """Write an InsightFace ResNet as the state dict of arcface_torch's iresnet; return how far its numbers are off.

    The comparison is of MXNet's network with these weights, at arcface_torch's settings. Arguments and errors as in
    `export_onnx`; CheckpointError, too, for a network that arcface_torch does not have.
    """
    whole = _load(prefix, epoch, image_shape)
    remove_leftovers(output)
    with replacing(output, CheckpointError) as temporary:
        told = {**read_provenance(prefix), **provenance}
        write_arcface_torch(temporary, whole.values, whole.cfg, told)
        _check_same(read_arcface_torch(temporary, whole.cfg), whole.values)
        theirs = complete({**whole.cfg, **SETTINGS, 'input_order': 'rgb'})
        there = convert(read_arcface_torch(temporary, theirs), theirs)
        run = run_symbol(there.symbol, {**there.args, **there.auxs})
        return compare(run, whole.run, draw_probes(whole.cfg['image_shape'], faces))


def export_safetensors(
    prefix: PathLike,
    epoch: int,
    output: PathLike,
    *,
    image_shape: Wanted = None,
    provenance: Mapping[str, str] = UNKNOWN,
) -> None:
    """Write a network's parameters by their names here, its config in the metadata.

    Arguments and errors as in `export_onnx`; MissingExtra where safetensors is not installed.
    """
    whole = _load(prefix, epoch, image_shape)
    told = describe_network(prefix, epoch, whole.symbol, asdict(PLAIN), whole.cfg['image_shape'], provenance)
    told = {**told, 'config': dict(whole.cfg)}
    remove_leftovers(output)
    with replacing(output, CheckpointError) as temporary:
        write_safetensors(temporary, whole.values, {key: told[key] for key in told if key not in LOST})
        _check_same(read_safetensors(temporary).values, whole.values)


def export_keras(
    prefix: PathLike,
    epoch: int,
    output: PathLike,
    *,
    image_shape: Wanted = None,
    provenance: Mapping[str, str] = UNKNOWN,
) -> str:
    """Write a network of Keras as `.weights.h5`, or as `.keras` with the model; return its mode of preprocessing.

    The file holds the network without what is done to its pixels, which the caller does: keras.applications'
    preprocess_input in that mode ('none': nothing). A classifier of a model ends in its softmax. Arguments and errors
    as in `export_onnx`; CheckpointError, too, for a network or settings that Keras does not have, MissingExtra where
    h5py is not installed.
    """
    whole = _load(prefix, epoch, image_shape)
    remove_leftovers(output)
    with replacing(output, CheckpointError) as temporary:
        told = {**read_provenance(prefix), **provenance}
        model = str(output).endswith(MODEL_SUFFIX)
        mode = write_keras(temporary, whole.values, whole.cfg, model=model, provenance=told)
        _check_same(read_keras(temporary, whole.cfg), whole.values)
    return mode


def _load(prefix: PathLike, epoch: int, image_shape: Wanted) -> Whole:
    """Read a checkpoint; CheckpointError where it is not the network of its config, or not finite."""
    path, graph = beside(prefix, config_path), symbol_path(prefix)
    if path is None:
        raise CheckpointError(
            f'{config_path(prefix)}, which records the network of {graph}, does not exist; `facesymbols import-weights '
            f'insightface {prefix},{epoch} --network NAME -o PREFIX` writes a checkpoint that has one'
        )
    cfg, (saved, _, run, _) = complete(read_json(path)), open_checkpoint(prefix, epoch, image_shape)
    own, target = get_symbol(cfg), f'the network of {path}'
    check_fit(
        own, saved.values, image_shape=cfg['image_shape'], source=params_path(prefix, epoch), target=target
    )
    check_same_layers(saved.symbol, own, source=graph, target=target)
    names = [name for name in own.list_inputs() if name != 'data']
    return Whole(cfg, saved.symbol, {name: as_numpy(saved.values[name]) for name in names}, run)


def _check_same(found: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> None:
    """Raise CheckpointError unless what was read back is what was written, to the bit."""
    wrong = [name for name in {**values, **found} if name not in values or name not in found]
    wrong += [name for name in values if name in found and found[name].tobytes() != values[name].tobytes()]
    if wrong:
        raise CheckpointError(
            f'the exported weights, read back, differ in {first_few(wrong, NAMED)}, so nothing is written'
        )
