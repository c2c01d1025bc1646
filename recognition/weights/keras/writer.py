"""Keras 3's files, written without Keras: `.weights.h5`, and `.keras` with the model."""

from __future__ import annotations

import io
import json
import zipfile
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from config import Config
from config.preprocessing import MODES, PIXEL_KEYS
from recognition.utils.files import PathLike
from recognition.utils.packages import require
from recognition.weights.keras.mapping import classifies, to_keras
from recognition.weights.keras.model_config import snake
from recognition.weights.keras.model_writer import ModelConfig
from recognition.weights.keras.reader import CONFIG, MODE, WEIGHTS
from symbols import get_symbol

KERAS_VERSION = '3.0.0'  # the first with these formats
METADATA = 'metadata.json'
UNKNOWN: Mapping[str, str] = MappingProxyType({})


def write_keras(
    path: PathLike,
    values: Mapping[str, np.ndarray],
    cfg: Config,
    *,
    model: bool,
    provenance: Mapping[str, str] = UNKNOWN,
) -> str:
    """Write the weights of the network of `cfg`, with the model where that is wanted (`.keras`).

    provenance: the license and the origin of the weights, by name, which the file records, and the mode of its
    preprocessing, of MODES, which is returned. Raises CheckpointError for a network that
    Keras does not have, or with settings that Keras's does not have.
    """
    layers = list(to_keras(values, cfg, path))
    pixels = {key: cfg[key] for key in PIXEL_KEYS}
    mode = next(mode for mode, settings in MODES.items() if settings == pixels)
    content = io.BytesIO()
    _write_weights(content, layers, {MODE: mode, **provenance})
    if not model:
        with open(path, 'wb') as file:
            file.write(content.getbuffer())
        return mode
    order: Dict[str, List[str]] = {}
    for ours, keras_class, _ in layers:
        order.setdefault(keras_class, []).append(ours)
    built = ModelConfig(get_symbol(cfg), cfg['image_shape'], order, softmax=classifies(cfg))
    config = built.as_json(cfg['network'] or cfg['net_name'])
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps({'keras_version': KERAS_VERSION}))
        archive.writestr(zipfile.ZipInfo(CONFIG), json.dumps(config))  # a ZipInfo has no time of its own
        archive.writestr(zipfile.ZipInfo(WEIGHTS), content.getbuffer())
    return mode


def _write_weights(
    file: Any, layers: List[Tuple[str, str, List[np.ndarray]]], recorded: Mapping[str, str]
) -> None:
    """Write the layers of each class under their number, and a layer's weights under theirs."""
    h5py = require('h5py', 'keras', "writing Keras's files")
    counts: Dict[str, int] = {}
    with h5py.File(file, 'w') as written:
        written.attrs.update(recorded)
        for _, keras_class, weights in layers:
            kind = snake(keras_class)
            number = counts[kind] = counts.get(kind, -1) + 1
            group = written.create_group(f'layers/{kind}_{number}/vars' if number else f'layers/{kind}/vars')
            for index, value in enumerate(weights):
                group[str(index)] = value
