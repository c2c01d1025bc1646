"""File formats that `import-weights` reads: how each is named and read, and its settings in the config."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from config import resolve
from config.preprocessing import MODES, PIXEL_KEYS, mode_of
from recognition.engines.record import Record, checked_provenance, metadata_record, read_provenance
from recognition.utils.run_paths import parse_checkpoint

if TYPE_CHECKING:
    from recognition.checkpoint import Saved
    from recognition.weights.conversion import Converted

UNKNOWN = Record()


class Source(NamedTuple):
    """Contents of a file: values by our names, the checkpoint if it was one of MXNet's, and the file's own record.

    compare: how far the outputs of the file and of the converted network are apart, None where that cannot be measured.
    notes: lines of the report.
    """

    values: Dict[str, Any]
    saved: Optional[Saved] = None
    record: Record = UNKNOWN
    compare: Optional[Callable[[Converted], Optional[float]]] = None
    notes: Sequence[str] = ()


def _keras(file: str, cfg: Any, part: str) -> Source:
    from recognition.weights.keras.mapping import read_keras
    from recognition.weights.keras.reader import open_keras

    with open_keras(file) as held:
        record = UNKNOWN.with_provenance(held.recorded)
    return Source(read_keras(file, cfg), record=record)


def _arcface_torch(file: str, cfg: Any, part: str) -> Source:
    from recognition.weights.arcface_torch import kept_provenance, read_arcface_torch

    held = checked_provenance(kept_provenance(file), file)
    return Source(read_arcface_torch(file, cfg, part), record=UNKNOWN.with_provenance(held))


def _safetensors(file: str, cfg: Any, part: str) -> Source:
    from recognition.weights.safetensors_file import read_safetensors

    held = read_safetensors(file)
    return Source(held.values, record=metadata_record(held.metadata, file))


def _safetensors_config(file: str, network: Optional[str]) -> Any:
    from recognition.weights.safetensors_file import read_safetensors

    return read_safetensors(file).cfg


def _kept_config(file: str, network: Optional[str]) -> Any:
    from recognition.weights.arcface_torch import kept_config

    return kept_config(file, resolve(network).num_layers)


def _keras_settings(cfg: Any, args: argparse.Namespace) -> Dict[str, Any]:
    """Return the pixel settings of the mode that is asked for, or that the file records, or of the network's own."""
    from recognition.weights.keras.reader import MODE, open_keras

    if any(setting.partition('=')[0] in PIXEL_KEYS for setting in args.config):
        return {}
    with open_keras(args.file) as held:
        recorded = held.recorded.get(MODE)
    return MODES[args.preprocessing or (recorded if recorded in MODES else mode_of(cfg))]


def _arcface_torch_settings(cfg: Any, args: argparse.Namespace) -> Dict[str, Any]:
    from recognition.weights.arcface_torch import settings_for

    return settings_for(cfg.num_layers)


def _no_settings(cfg: Any, args: argparse.Namespace) -> Dict[str, Any]:
    return {}


def prefix_and_epoch(file: str) -> Tuple[Path, int]:
    """Return the prefix and the epoch of a checkpoint of MXNet's."""
    prefix, epoch = parse_checkpoint('insightface', file)
    return Path(prefix), epoch


def _insightface(file: str, cfg: Any, part: str) -> Source:
    from recognition.checkpoint import load_embedding
    from recognition.training.pretrained import check_pair
    from recognition.weights.conversion import embedding_difference

    prefix, epoch = prefix_and_epoch(file)
    saved = load_embedding(prefix, epoch)
    check_pair(saved, prefix, epoch, cfg.image_shape, part)
    compare = partial(embedding_difference, saved, image_shape=cfg.image_shape)
    return Source(saved.values, saved, UNKNOWN.with_provenance(read_provenance(prefix)), compare)


def _onnx(file: str, cfg: Any, part: str) -> Source:
    from recognition.export.parity import draw_probes
    from recognition.weights.onnx.check import file_difference
    from recognition.weights.onnx.reader import load_file, notes_on, read_onnx

    values, probes = read_onnx(file, cfg, part, target=cfg.network), draw_probes(cfg.image_shape)
    return Source(
        values,
        record=metadata_record(load_file(file).metadata, file),
        compare=partial(file_difference, file, cfg, probes.sets),
        notes=notes_on(file, cfg),
    )


def _onnx_settings(cfg: Any, args: argparse.Namespace) -> Dict[str, Any]:
    from recognition.weights.onnx.reader import load_file, settings_for

    return settings_for(load_file(args.file), cfg)


class Format(NamedTuple):
    """One subcommand: how its file is called and read, and what the format sets in the config.

    inside: returns the config of the checkpoint that a file was exported of, None where it holds none. names_network:
    whether each file holds one, so that no preset needs to be named. identifies: whether the file's own structure says
    which preset it is of.
    """

    metavar: str
    help: str
    read: Callable[[str, Any, str], Source]
    settings: Callable[[Any, argparse.Namespace], Dict[str, Any]] = _no_settings
    inside: Callable[[str, Optional[str]], Any] = lambda file, network: None
    names_network: bool = False
    identifies: bool = False


FORMATS = {
    'keras': Format(
        'FILE', "Keras's .h5, .weights.h5 or .keras, of a keras_... network", _keras, _keras_settings
    ),
    'arcface_torch': Format(
        'FILE',
        "arcface_torch's backbone.pth of an iresnet, from PyTorch",
        _arcface_torch,
        _arcface_torch_settings,
        _kept_config,
    ),
    'onnx': Format(
        'FILE',
        'an ONNX file, whose network is recognised by its structure',
        _onnx,
        _onnx_settings,
        identifies=True,
    ),
    'safetensors': Format(
        'FILE',
        'a file of `facesymbols export --format safetensors`',
        _safetensors,
        inside=_safetensors_config,
        names_network=True,
    ),
    'insightface': Format(
        'PREFIX,EPOCH',
        "InsightFace's checkpoint: PREFIX-symbol.json and the .params of that epoch",
        _insightface,
    ),
}
