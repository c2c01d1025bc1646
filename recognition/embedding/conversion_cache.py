"""The user's cache of files made once of a network: above all the file that another engine reads."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Callable, Dict, Iterator, Tuple

from config.errors import ConfigError
from recognition.engines.base import Shape, Wanted
from recognition.engines.model import KINDS, Model
from recognition.engines.record import shape_of
from recognition.utils.locks import locked

KEPT = 4  # files of a kind; the one that was used last is the last to go


def cache_folder() -> Path:
    """Return the folder of what can be made anew: $XDG_CACHE_HOME/facesymbols, or ~/.cache/facesymbols.

    Raises ConfigError for a user who has no home folder.
    """
    try:
        return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'facesymbols'
    except RuntimeError:
        raise ConfigError('there is no home folder for ~/.cache: set the variable XDG_CACHE_HOME') from None


def onnx_of(model: Model, image_shape: Wanted) -> Model:
    """Return a checkpoint as an ONNX file, which the export has compared with MXNet."""

    def write(path: Path, shape: Shape) -> None:
        from recognition.export.onnx_export import Options, export_onnx

        options = Options(fold=True)
        export_onnx(
            model.path, model.epoch, path, options=options, image_shape=shape, output_layer=model.output
        )

    return Model('onnx', _converted(model, image_shape, 'onnx', '.onnx', write))


def ncnn_of(model: Model, image_shape: Wanted) -> Model:
    """Return a checkpoint as ncnn's pair, compared in the same way."""

    def write(path: Path, shape: Shape) -> None:
        from recognition.export.ncnn_export import export_ncnn

        export_ncnn(model.path, model.epoch, path, image_shape=shape, output_layer=model.output)

    return Model('ncnn', _converted(model, image_shape, 'ncnn', '.param', write).with_suffix(''))


def _converted(
    model: Model,
    image_shape: Wanted,
    kind: str,
    suffix: str,
    write: Callable[[Path, Shape], object],
) -> Path:
    height, width, channels = image_shape or (None, None, None)
    shape = (height, width, channels) if height and width and channels else shape_of(model, image_shape)
    key = f'{model.content_key()}-{"x".join(map(str, shape))}'
    return kept(kind, key, suffix, lambda path: write(path, shape))


def kept(kind: str, key: str, suffix: str, write: Callable[[Path], object]) -> Path:
    """Return the file of a key in the cache's folder `kind`, which `write` makes where it is not there."""
    folder = cache_folder() / kind
    path = folder / f'{key}{suffix}'
    if path.is_file():
        with suppress(OSError):  # a cache that may only be read will do
            path.touch()
        return path
    with _alone(folder):
        if not path.is_file():  # or else another process has made it in the meantime
            write(path)
        _drop_old(folder, f'*{suffix}')
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other processes and threads out of it; ConfigError where it cannot be written."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / folder.name, wait=True))
        except ConfigError as error:
            raise ConfigError(
                f'what is made of the network cannot be kept: {error}; the variable XDG_CACHE_HOME names another folder'
            ) from error
        yield


def _drop_old(folder: Path, pattern: str) -> None:
    with suppress(OSError):  # another process may be at it
        files = sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[KEPT:]:
            file.unlink()  # first: without it there is no network
            for each in folder.glob(f'{escape(file.stem)}.*'):  # what belongs to it
                each.unlink()


PACKAGES = ('onnx', 'onnxruntime', 'pnnx')  # what conversions need, beside the engine
# (what there is, what is wanted) -> how it is made
CONVERSIONS: Dict[Tuple[str, str], Callable[[Model, Wanted], Model]] = {
    ('checkpoint', 'onnx'): onnx_of,
    ('checkpoint', 'ncnn'): ncnn_of,
}


def can_convert(model: Model, kind: str) -> bool:
    """Whether a network can be had as a file of that kind."""
    return model.kind == kind or (model.kind, kind) in CONVERSIONS


def as_kind(model: Model, kind: str, image_shape: Wanted, engine: str) -> Model:
    """Return a network as the kind of file that an engine reads; ConfigError where there is no way."""
    if model.kind == kind:
        return model
    if not can_convert(model, kind):
        raise ConfigError(f'the engine {engine} reads {KINDS[kind]}, and {model} is {KINDS[model.kind]}')
    return CONVERSIONS[model.kind, kind](model, image_shape)
