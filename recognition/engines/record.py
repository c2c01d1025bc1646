"""The record of a network beside its graph: the images that it takes, and the kind of its output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

from config.checks import CLASS_SCORES, EMBEDDING, FEATURE_MAP, output_kind
from config.errors import CheckpointError, ConfigError
from recognition.data.class_names import read_classes
from recognition.engines.base import Shape, Wanted, agreed_shape
from recognition.engines.model import Model
from recognition.utils.files import PathLike, read_json
from recognition.utils.run_paths import classes_path, config_path, origin_path

BEST = '-best'  # what the prefix of a run's best network has behind the run's
KERAS, TF_PADDING = 'keras_', 'tf_same'  # by which the networks of keras.applications are known
PROVENANCE = ('license', 'origin')
USES = {
    EMBEDDING: '`facesymbols embed`, `compare` and `verify` use embeddings',
    CLASS_SCORES: '`facesymbols predict` and `evaluate` use class scores',
    FEATURE_MAP: 'another head (net_output) gives embeddings or class scores',
}


class Record(NamedTuple):
    """A network's record: `kind` of output and `image_shape` (None: unknown), the names of its classes.

    keras: whether its weights are Keras's, whose images are resized in another way. license, origin: of the weights, in
    words; '' where unknown.
    """

    kind: Optional[str] = None
    image_shape: Optional[Shape] = None
    classes: Tuple[str, ...] = ()
    keras: bool = False
    license: str = ''
    origin: str = ''

    @property
    def provenance(self) -> Dict[str, str]:
        """Return the license and the origin of the weights by name, where they are known."""
        return provenance_in(self._asdict())

    def with_provenance(self, held: Mapping[str, str]) -> Record:
        """Return the record with the license and the origin among values by name, where they are there."""
        return self._replace(
            license=held.get('license', self.license), origin=held.get('origin', self.origin)
        )

    def as_metadata(self) -> Dict[str, Any]:
        """Return what an exported file says of itself, as `metadata_record` reads it."""
        if self.kind is None:
            return dict(self.provenance)
        return {
            **self.provenance,
            'kind': self.kind,
            'keras': self.keras,
            **({'classes': list(self.classes)} if self.classes else {}),
        }

    def check_kind(self, wanted: str, model: object, *, assumed: bool = True) -> None:
        """Raise ConfigError where the network gives something else than `wanted`; `model` names it.

        assumed: whether one of which nothing is known passes.
        """
        if self.kind is None and not assumed:
            raise ConfigError(
                f'nothing records what {model} gives: if it is {_counted(wanted)}, name the classes (--classes FILE)'
            )
        if self.kind is not None and self.kind != wanted:
            hint = f'; {USES[self.kind]}' if self.kind in USES else ''
            raise ConfigError(f'{model} gives {_counted(self.kind)}, not {_counted(wanted)}{hint}')


def _counted(kind: str) -> str:
    return kind if kind == CLASS_SCORES else f'an {kind}' if kind == EMBEDDING else f'a {kind}'


def beside(prefix: PathLike, name: Callable[[PathLike], Path]) -> Optional[Path]:
    """Return the file beside a checkpoint, or that of the run whose best network it is; None where there is none."""
    text = str(prefix)
    run = text[: -len(BEST)] if text.endswith(BEST) else text
    return next((path for path in map(name, (text, run)) if path.is_file()), None)


def provenance_in(held: Mapping[str, Any]) -> Dict[str, str]:
    """Return the license and the origin among values by name, where they are known."""
    return {name: held[name] for name in PROVENANCE if held.get(name)}


def read_provenance(prefix: PathLike) -> Dict[str, str]:
    """Read the license and the origin beside a checkpoint; CheckpointError where the file is damaged."""
    path = beside(prefix, origin_path)
    return {} if path is None else checked_provenance(read_json(path), path)


def checked_provenance(held: Any, source: object) -> Dict[str, str]:
    """Return the license and the origin in what a file records; CheckpointError, which names it, otherwise."""
    if not isinstance(held, dict) or not all(isinstance(each, str) for each in held.values()):
        raise CheckpointError(f'{source} is damaged: license and origin must be text')
    return provenance_in(held)


def write_provenance(prefix: PathLike, held: Mapping[str, str]) -> None:
    """Write the license and the origin beside a checkpoint; where neither is known, remove an older file."""
    from recognition.checkpoint.run_files import write_json

    if held:
        write_json(origin_path(prefix), provenance_in(held))
    else:
        origin_path(prefix).unlink(missing_ok=True)


def checkpoint_record(prefix: PathLike) -> Record:
    """Return what lies beside a checkpoint says of it; CheckpointError or DataError where a file is damaged."""
    return _config_record(prefix).with_provenance(read_provenance(prefix))


def _config_record(prefix: PathLike) -> Record:
    path, names = beside(prefix, config_path), beside(prefix, classes_path)
    if path is None:
        classes = tuple(read_classes(names)) if names else ()
        return Record(classes=classes, kind=CLASS_SCORES if names else None)
    cfg = read_json(path)
    record = _of_config(path, cfg, ())
    if names is None or record.kind != CLASS_SCORES:
        return record
    return record._replace(classes=tuple(read_classes(names, int(cfg.get('num_classes', 0)))))


def metadata_record(metadata: Mapping[str, str], source: object) -> Record:
    """Return what an ONNX file, or the JSON beside ncnn's pair, says in its metadata; its shape is in the graph."""
    try:
        held: Dict[str, Any] = {
            key: json.loads(metadata[key]) for key in ('config', 'classes', 'keras') if key in metadata
        }
        names = held.get('classes', [])
        if not isinstance(names, list):
            raise TypeError('its classes are not a list')
        classes = tuple(map(str, names))
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f'{source} is damaged: its metadata cannot be read ({error})') from None
    if 'kind' in metadata:
        record = Record(metadata['kind'], None, classes, bool(held.get('keras')))
    else:
        record = _of_config(source, held['config'], classes) if 'config' in held else Record(classes=classes)
    return record.with_provenance(metadata)


def _of_config(source: object, cfg: Any, classes: Tuple[str, ...]) -> Record:
    try:
        theirs = str(cfg['net_name']).startswith(KERAS) or cfg.get('padding') == TF_PADDING
        keras = theirs and not cfg.get('dataset_path')  # of a training here, whose images `pack` has resized
        return Record(output_kind(cfg), _shape(cfg['image_shape']), classes, keras)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError):
        raise CheckpointError(f'{source} is damaged: it holds no config of a network') from None


def _shape(sides: Any) -> Shape:
    height, width, channels = map(int, sides)
    return height, width, channels


def shape_of(model: Model, wanted: Wanted = None) -> Shape:
    """Return the (H, W, C) of a checkpoint's images: as recorded, or else as wanted, or 112x112.

    Without a record, the channels follow from the shapes of the parameters. Raises ConfigError where `wanted`
    contradicts that.
    """
    found: Wanted = checkpoint_record(model.path).image_shape
    if found is None:
        from recognition.checkpoint.network import input_channels, load_embedding

        height, width, _ = wanted or (None, None, None)
        saved = load_embedding(model.path, model.epoch, model.output)
        channels = input_channels(saved, (height, width))
        return agreed_shape(model, (height, width, channels), wanted)
    return agreed_shape(model, found, wanted)
