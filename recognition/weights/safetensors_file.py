"""Networks as safetensors files: the parameters by their names here, and the config in the metadata."""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, NamedTuple

import numpy as np

from config import Config, complete
from config.errors import CheckpointError, ConfigError
from config.reading import no_reason, reading
from recognition.utils.files import PathLike, unicode_path
from recognition.utils.packages import require
from recognition.utils.safetensors_bytes import save_tensors

EXTRA = 'embed'  # that brings the package


class Held(NamedTuple):
    """What such a file holds."""

    values: Dict[str, np.ndarray]
    metadata: Mapping[str, str]
    cfg: Config


def write_safetensors(path: PathLike, values: Mapping[str, np.ndarray], told: Mapping[str, Any]) -> None:
    """Write arrays by name, with metadata: text as it is and all else as JSON; MissingExtra without the package."""
    require('safetensors.numpy', EXTRA, 'a safetensors file')
    metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in told.items()}
    save_tensors(path, values, metadata)


def read_safetensors(path: PathLike) -> Held:
    """Read such a file; CheckpointError where it is damaged or holds no config, MissingExtra without the package."""
    package = require('safetensors', EXTRA, 'a safetensors file')
    damage = 'is damaged, not a safetensors file, or not of types that numpy has'  # it knows no bfloat16
    with (
        reading(path, CheckpointError, damage, no_reason),
        open(path, 'rb') as file,
        package.safe_open(unicode_path(file), 'numpy') as held,
    ):
        metadata = dict(held.metadata() or {})
        values = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - it is no dict
    return Held(values, metadata, _config(metadata, path))


def _config(metadata: Mapping[str, str], path: PathLike) -> Config:
    if 'config' not in metadata:
        raise CheckpointError(
            f'{path} does not hold the config of its network, as a file of `facesymbols export --format safetensors` '
            'does'
        )
    try:
        with reading(path, CheckpointError, 'holds an invalid config'):
            return complete(json.loads(metadata['config']))
    except ConfigError as error:
        raise CheckpointError(f'{path} holds an invalid config: {error}') from error
