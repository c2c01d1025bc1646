"""What an ONNX file that was written here says of itself, beside its graph."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import MappingProxyType
from typing import Any, Dict, Mapping, Optional, Sequence

from config import complete
from config.errors import CheckpointError, FaceSymbolsError
from recognition.checkpoint.layer_diff import differences, pixel_formula
from recognition.checkpoint.matching import wanted_shapes
from recognition.checkpoint.run_files import read_json
from recognition.engines.onnx_file import read_onnx_file
from recognition.engines.record import PROVENANCE, beside, checkpoint_record
from recognition.export.onnx.builder import OPSET
from recognition.export.onnx.front import OUTSIDE, WANTED
from recognition.utils.checksums import sum_of
from recognition.utils.environment import package_version
from recognition.utils.files import PathLike
from recognition.utils.run_paths import config_path, params_path
from symbols import get_symbol

import mxnet as mx

NEEDED = ('facesymbols', 'params_sha256', 'image_shape', 'embedding_shape', 'options')

logger = logging.getLogger(__name__)


def describe_network(
    prefix: PathLike,
    epoch: int,
    symbol: mx.sym.Symbol,
    options: Mapping[str, Any],
    image_shape: Sequence[int],
    provenance: Mapping[str, str] = MappingProxyType({}),
) -> Dict[str, Any]:
    """Return what is written into the file of a network: values that JSON can hold, by name.

    provenance: license and origin of the weights, in the place of those that lie beside the checkpoint.
    `kind` and `classes` are there where they lie beside the checkpoint; `config`, where it is of this very network.
    """
    (shape,) = symbol.infer_shape(data=(1, image_shape[2], *image_shape[:2]))[1]
    told = {
        'facesymbols': package_version('facesymbols') or 'unknown',
        'params_sha256': sum_of(params_path(prefix, epoch)),
        'epoch': epoch,
        'opset': OPSET,
        'image_shape': list(image_shape),
        'embedding_shape': list(shape[1:]),
        'preprocessing': preprocessing(symbol, options, image_shape),
        'pixels': WANTED[options['pixels']].as_metadata(),
        'options': dict(options),
    }
    cfg = _config_of(prefix, symbol, image_shape)
    record = checkpoint_record(prefix).with_provenance(provenance)
    return {**told, **record.as_metadata(), **({} if cfg is None else {'config': cfg})}


def preprocessing(symbol: mx.sym.Symbol, options: Mapping[str, Any], image_shape: Sequence[int]) -> str:
    """Return in words what the input must be."""
    height, width, channels = image_shape
    pixels = {1: 'grey', 3: 'RGB'}.get(channels, f'{channels} channels')
    form = f'float32 (N, {channels}, {height}, {width})'
    if options.get('uint8_nhwc'):
        form = f'uint8 (N, {height}, {width}, {channels})'
    if options.get('pixels') == OUTSIDE:
        return f'{pixels}, {form}, as (x - 127.5) / 127.5 of x in 0..255, which the caller computes'
    formula = pixel_formula(symbol)
    if not formula:
        return f'{pixels}, {form}, as the network was trained on; it takes no mean off and scales nothing'
    return f'{pixels}, {form} in 0..255; {formula} is inside the network'


def put_metadata(model: Any, told: Mapping[str, Any]) -> None:
    """Write the values into a model as metadata, text as it is and all else as JSON."""
    for key, value in told.items():
        text = value if isinstance(value, str) else json.dumps(value)
        model.metadata_props.add(key=key, value=text)


def read_metadata(path: PathLike) -> Dict[str, Any]:
    """Return what `describe_network` put into a file.

    Raises CheckpointError where the file is missing, damaged, no ONNX file, or none that was exported here.
    """
    path = Path(path)
    if not path.is_file():
        what = 'is a folder' if path.is_dir() else 'does not exist'
        raise CheckpointError(f'{path} {what}; `facesymbols export` makes an ONNX file of a checkpoint')
    metadata = read_onnx_file(path).metadata
    held = {key: text if key in PROVENANCE else _value(text) for key, text in metadata.items()}
    missing = [key for key in NEEDED if key not in held]
    if missing:
        raise CheckpointError(
            f'{path} is not a network that was exported here: {", ".join(missing)} missing in its metadata; '
            '`facesymbols import-weights onnx` and then `export` make one of it'
        )
    return held


def check_origin(path: PathLike, prefix: PathLike, epoch: int) -> None:
    """Raise CheckpointError where an ONNX file was not made of this checkpoint as it is now."""
    held, source = read_metadata(path), params_path(prefix, epoch)
    if not source.is_file():
        raise CheckpointError(f'{source} does not exist')
    if held['params_sha256'] != sum_of(source):
        raise CheckpointError(f'{path} is of another network than {source}: it was made of other weights')


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _config_of(
    prefix: PathLike, symbol: mx.sym.Symbol, image_shape: Sequence[int]
) -> Optional[Dict[str, Any]]:
    """Return the config that lies beside the checkpoint, where the network that it builds is this one."""
    path = beside(prefix, config_path)
    if path is None:
        return None
    try:
        cfg = complete(read_json(path))
        own = get_symbol(cfg)
        same = wanted_shapes(own, image_shape) == wanted_shapes(symbol, image_shape)
    except FaceSymbolsError as error:
        logger.warning('%s is left out of the metadata: %s', path, error)
        return None
    if not same or differences(symbol, own):
        logger.warning('%s is left out of the metadata: it is of another network', path)
        return None
    return dict(cfg)
