"""A checkpoint as the file that another engine reads, made once and kept in the user's cache."""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

from config.errors import ConfigError, MissingExtra
from recognition.engines.base import DEFAULT_SHAPE, Shape
from recognition.engines.model import KINDS, Model

KEPT = 4  # converted networks; the one that was used last is the last to go


def cache_folder() -> Path:
    """Return the folder of what can be made anew: $XDG_CACHE_HOME/facesymbols, or ~/.cache/facesymbols."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'facesymbols'


def onnx_of(model: Model, image_shape: Optional[Shape]) -> Model:
    """Return a checkpoint as an ONNX file, which the export has compared with MXNet."""
    try:
        export = importlib.import_module('recognition.export')
    except ImportError as error:
        raise MissingExtra(
            f"{model} cannot be made an ONNX file without the export: pip install 'facesymbols[onnx]'"
        ) from error
    shape = tuple(image_shape or DEFAULT_SHAPE)
    folder = cache_folder() / 'onnx'
    path = folder / f'{model.fingerprint()}-{"x".join(map(str, shape))}.onnx'
    if path.is_file():
        path.touch()
    else:
        folder.mkdir(parents=True, exist_ok=True)
        export.export_onnx(model.path, model.epoch, path, image_shape=shape)
    _drop_old(folder, '*.onnx')
    return Model('onnx', path)


def _drop_old(folder: Path, pattern: str) -> None:
    with suppress(OSError):  # another process may be at it
        files = sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[KEPT:]:
            file.unlink()


# (what there is, what is wanted) -> how it is made
CONVERSIONS: Dict[Tuple[str, str], Callable[[Model, Optional[Shape]], Model]] = {
    ('checkpoint', 'onnx'): onnx_of,
}


def can_convert(model: Model, kind: str) -> bool:
    """Whether a network can be had as a file of that kind."""
    return model.kind == kind or (model.kind, kind) in CONVERSIONS


def as_kind(model: Model, kind: str, image_shape: Optional[Shape], engine: str) -> Model:
    """Return a network as the kind of file that an engine reads; ConfigError where there is no way."""
    if model.kind == kind:
        return model
    if not can_convert(model, kind):
        raise ConfigError(f'the engine {engine} reads {KINDS[kind]}, and {model} is {KINDS[model.kind]}')
    return CONVERSIONS[model.kind, kind](model, image_shape)
