"""Weights of InsightFace's arcface_torch ResNets (iresnet18 to iresnet200, `backbone.pth`), read and written.

What is written holds the numbers of arcface_torch's network, and, in records of the zip file that torch.load does not
read, the config and the parameters that had to be rounded on the way there. They are used on the way back while the
state dict is still what was made of them.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Dict, Mapping, NamedTuple, Optional

import numpy as np

from config import complete, resolve
from config.errors import CheckpointError, first_few
from config.presets import NETWORKS, RESNET_UNITS
from config.reading import no_reason, refusing
from recognition.checkpoint.matching import WHOLE, check_fit
from recognition.utils.files import PathLike
from recognition.utils.restricted_pickle import shown
from recognition.weights.iresnet import (
    DEPTHS,
    FIXED,
    FREE,
    MOVED,
    PRESETS,
    SCALED,
    SETTINGS,
    as_torch,
    check_config,
    check_export,
    listed,
    name_of,
    network_of,
    rules_of,
    settings_for,
    units_of,
)
from recognition.weights.torch.state_dict import read_records, read_state_dict
from recognition.weights.torch.writer import write_state_dict
from symbols import get_symbol

__all__ = [
    'PRESETS',
    'SETTINGS',
    'config_of',
    'kept_config',
    'kept_provenance',
    'read_arcface_torch',
    'settings_for',
    'state_of',
    'write_arcface_torch',
]

FOLDER = 'facesymbols'  # of the records
CONFIG, ORIGIN = 'config.json', 'origin.json'

logger = logging.getLogger(__name__)

Arrays = Dict[str, np.ndarray]


class Kept(NamedTuple):
    """The config of the checkpoint that a file was made of, and those of its parameters that were rounded."""

    cfg: Mapping[str, Any]
    values: Arrays


def config_of(path: PathLike) -> Any:
    """Return the config of the network whose weights a file holds; CheckpointError where it is none of PRESETS."""
    state = read_state_dict(path)
    units = units_of(state)
    network, dense = network_of(units), state.get('fc.weight')
    if network is None or dense is None:
        raise CheckpointError(
            f'{path} is not an iresnet of arcface_torch: it has {listed(units)} units in its stages, {name_of(units)}'
            if any(units)
            else f'{path} holds no weights of an iresnet of arcface_torch'
        )
    preset = PRESETS[network]
    return resolve(preset, **settings_for(NETWORKS[preset]['num_layers']), emb_size=len(dense))


def read_arcface_torch(path: PathLike, cfg: Mapping[str, Any], part: str = WHOLE) -> Arrays:
    """Read an iresnet of arcface_torch as float32 arrays by our names, all that it has.

    `cfg` is a config with SETTINGS: resolve('r50', **settings_for(50)). Its network must have those parameters and
    shapes; with part 'body' its head may be another one, with 'fitting' its activation too. Where the last batch norm
    has a gamma other than 1, which our network would ignore, the fully connected layer before it is scaled instead:
    the embeddings are the same.

    Raises CheckpointError for a config of no such network or of one with other units, for a file that `read_state_dict`
    refuses, and for one that lacks a parameter, has one without a rule, of another shape, or with values not finite.
    """
    cfg = complete(cfg)
    state = read_state_dict(path)
    kept = _kept(path, state)
    own = kept is not None and all(cfg[key] == kept.cfg[key] for key in MOVED)
    check_config(cfg, (*FREE[part], *MOVED) if own else FREE[part])
    units = units_of(state)
    rules = dict(rules_of(units))
    strange = [name for name in state if name not in rules]
    if strange:
        raise CheckpointError(
            f'{path} is not an iresnet of arcface_torch: there is no rule for {first_few(map(shown, strange), 1)}'
        )
    missing = [name for name, ours in rules.items() if ours and name not in state]
    if missing:
        raise CheckpointError(
            f'{path} is not a complete iresnet of arcface_torch: missing {first_few(map(shown, missing), 1)}'
        )
    wanted = RESNET_UNITS[cfg['num_layers']]
    if units != wanted:
        raise CheckpointError(
            f'{path} does not fit num_layers={cfg["num_layers"]}, which has {listed(wanted)} units in its stages: '
            f'it has {listed(units)}, {name_of(units)}'
        )
    theirs = {ours: name for name, ours in rules.items() if ours}
    arrays = {ours: state[name] for ours, name in theirs.items()}
    if part == WHOLE:
        target = 'the network of the config'
        check_fit(get_symbol(cfg), arrays, image_shape=cfg['image_shape'], source=path, target=target)
    values = {ours: _float32(array, f'{path}: {theirs[ours]}') for ours, array in arrays.items()}
    return {**values, **kept.values} if kept and own else _with_fixed_gamma(values, path)


def kept_config(path: PathLike, num_layers: int) -> Optional[Mapping[str, Any]]:
    """Return the config of the checkpoint that a file was exported of, where it is of this depth and not changed since.

    With that config `read_arcface_torch` returns the checkpoint's own values. Errors as there.
    """
    kept = _kept(path, read_state_dict(path))
    return kept.cfg if kept and kept.cfg['num_layers'] == DEPTHS.get(num_layers, num_layers) else None


def state_of(values: Arrays, cfg: Mapping[str, Any]) -> Arrays:
    """Return the state dict of arcface_torch's network that computes what the network of `cfg` does with `values`.

    Raises CheckpointError where arcface_torch has no such network.
    """
    check_export(cfg, values)
    return {
        theirs: np.array(0, np.int64) if ours is None else as_torch(ours, values[ours], cfg)
        for theirs, ours in rules_of(RESNET_UNITS[cfg['num_layers']])
    }


def kept_provenance(path: PathLike) -> Any:
    """Return the license and the origin in the records of a file, as JSON holds them; {} where there are none."""
    with refusing(
        path, CheckpointError, 'is damaged: its record of license and origin is invalid', no_reason
    ):
        return json.loads(read_records(path, FOLDER).get(ORIGIN, b'{}'))


def write_arcface_torch(
    path: PathLike, values: Arrays, cfg: Mapping[str, Any], provenance: Optional[Mapping[str, str]] = None
) -> None:
    """Write the state dict of `state_of`, which arcface_torch's network loads strictly, and what it was made of.

    provenance: the license and the origin of the weights, by name.
    """
    state = state_of(values, cfg)
    records = {
        ours: values[ours].astype('<f4').tobytes()
        for theirs, ours in rules_of(RESNET_UNITS[cfg['num_layers']])
        if ours and not np.array_equal(state[theirs], values[ours])
    }
    records[CONFIG] = json.dumps(cfg).encode()
    if provenance:
        records[ORIGIN] = json.dumps(provenance).encode()
    write_state_dict(path, state, {f'{FOLDER}/{name}': content for name, content in records.items()})


def _kept(path: PathLike, state: Mapping[str, np.ndarray]) -> Optional[Kept]:
    """Return what `write_arcface_torch` kept in a file; None where there is none, or it is not of this state."""
    records = read_records(path, FOLDER)
    records.pop(ORIGIN, None)
    if CONFIG not in records:
        return None
    theirs = {ours: name for name, ours in rules_of(units_of(state)) if ours}
    try:
        cfg = complete(json.loads(records.pop(CONFIG)))
        values = {
            name: np.frombuffer(content, '<f4').reshape(state[theirs[name]].shape)
            for name, content in records.items()
        }
        same = all(
            np.array_equal(as_torch(name, value, cfg), state[theirs[name]]) for name, value in values.items()
        )
    except Exception as error:
        raise CheckpointError(f'{path} is damaged: its record of the exported network is invalid') from error
    return Kept(cfg, values) if same else None


def _float32(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.kind != 'f':
        raise CheckpointError(f'{where} is of {array.dtype} where floating point numbers are wanted')
    with np.errstate(over='ignore'):
        values = np.array(array, np.float32, order='C')
    if not np.isfinite(values).all():
        raise CheckpointError(f'{where} holds values that are not finite')
    return values


def _with_fixed_gamma(values: Arrays, path: PathLike) -> Arrays:
    """Return the same network with FIXED at 1: gamma (x - mean) is gamma x - gamma mean, for x of a dense layer."""
    gamma = values[FIXED]
    if (gamma == 1).all():
        return values
    logger.warning(
        '%s: features.weight is not 1, as it is in arcface_torch; it is multiplied into fc and features.running_mean, '
        'and the embeddings are the same',
        path,
    )
    scaled = {name: (values[name].T * gamma).T for name in SCALED}
    return {**values, **scaled, FIXED: np.ones_like(gamma)}
