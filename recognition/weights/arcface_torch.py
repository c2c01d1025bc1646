"""Weights of InsightFace's arcface_torch ResNets (iresnet18 to iresnet200, `backbone.pth`) for our networks.

Every name in such a file has a rule here. The networks are the same but for what SETTINGS says, and names.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from config import complete, resolve
from config.errors import CheckpointError, first_few
from config.keys import FAMILY_NAMES, HEAD_NAMES
from config.presets import NETWORKS, RESNET_UNITS
from recognition.checkpoint.matching import BODY, FITTING, WHOLE, check_fit
from recognition.utils.files import PathLike
from recognition.utils.restricted_pickle import shown
from recognition.weights.torch.state_dict import read_state_dict
from symbols import get_symbol

logger = logging.getLogger(__name__)

Arrays = Dict[str, np.ndarray]

# The config values, beside those of the preset, of a network with such weights.
SETTINGS: Dict[str, Any] = {'bn_eps': 1e-5, 'input_scale': 1 / 127.5}
DEPTHS = {200: 198}  # InsightFace has two ResNets with 200 layers; by its layers PyTorch's has 198

# arcface_torch's networks and our presets for them.
PRESETS = {
    'iresnet18': 'r18',
    'iresnet34': 'r34',
    'iresnet50': 'r50',
    'iresnet100': 'r100',
    'iresnet200': 'r200',
}
# Other values of these keys make another network, or the same one with other numbers.
TAKES: Dict[str, Tuple[Any, ...]] = {
    'net_name': ('resnet',),
    'net_unit': (3,),
    'net_input': (1,),
    'net_act': ('prelu', 'prelu_channel'),
    'net_output': ('bn_dropout_fc_bn', 'bn_fc_bn'),
    'net_se': (False,),
    'net_multiplier': (1.0,),
    'input_mean': (127.5,),
    'fp16': (False,),
    **{key: (value,) for key, value in SETTINGS.items()},
}
# What the network may have otherwise, by the part of the weights that it takes.
FREE = {WHOLE: (), BODY: ('net_output',), FITTING: ('net_output', 'net_act')}
LONG_NAMES = {'net_name': FAMILY_NAMES, 'net_output': HEAD_NAMES}

# What torch's layers hold, and what ours call it; None is not read.
CONV = {'weight': 'weight'}
DENSE = {'weight': 'weight', 'bias': 'bias'}
PRELU = {'weight': 'gamma'}
NORM = {
    'weight': 'gamma',
    'bias': 'beta',
    'running_mean': 'moving_mean',
    'running_var': 'moving_var',
    'num_batches_tracked': None,
}


class Layer(NamedTuple):
    """A layer's name there and here, and what it holds."""

    theirs: str
    ours: str
    holds: Mapping[str, Optional[str]]


STEM = (Layer('conv1', 'conv0', CONV), Layer('bn1', 'bn0', NORM), Layer('prelu', 'relu0', PRELU))
UNIT = (
    Layer('bn1', 'bn1', NORM),
    Layer('conv1', 'conv1', CONV),
    Layer('bn2', 'bn2', NORM),
    Layer('prelu', 'relu1', PRELU),
    Layer('conv2', 'conv2', CONV),
    Layer('bn3', 'bn3', NORM),
)
PROJECTION = (Layer('downsample.0', 'conv1sc', CONV), Layer('downsample.1', 'sc', NORM))
HEAD = (Layer('bn2', 'bn1', NORM), Layer('fc', 'pre_fc1', DENSE), Layer('features', 'fc1', NORM))
STAGES = 4
UNIT_NAME = re.compile(r'layer([1-4])\.(\d{1,3})\.')  # no more digits: a name must not make a million rules
FIXED = 'fc1_gamma'  # held at 1 there (no gradient) as here (fix_gamma)
SCALED = ('pre_fc1_weight', 'pre_fc1_bias', 'fc1_moving_mean')  # what takes its place where it is not 1


def settings_for(num_layers: int) -> Dict[str, Any]:
    """Return what a preset's config lacks for such weights: SETTINGS, and the depth where it is another one here."""
    return {**SETTINGS, **({'num_layers': DEPTHS[num_layers]} if num_layers in DEPTHS else {})}


def config_of(path: PathLike) -> Any:
    """Return the config of the network whose weights a file holds; CheckpointError where it is none of PRESETS."""
    state = read_state_dict(path)
    units = _units(state)
    network, dense = _network_of(units), state.get('fc.weight')
    if network is None or dense is None:
        raise CheckpointError(
            f'{path} is no iresnet of arcface_torch: it has {_listed(units)} units in its stages, {_name_of(units)}'
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
    _check_config(cfg, FREE[part])
    state = read_state_dict(path)
    units = _units(state)
    rules = dict(_rules(units))
    strange = [name for name in state if name not in rules]
    if strange:
        raise CheckpointError(
            f'{path} is no iresnet of arcface_torch: there is no rule for {first_few(map(shown, strange), 1)}'
        )
    missing = [name for name, ours in rules.items() if ours and name not in state]
    if missing:
        raise CheckpointError(
            f'{path} is no whole iresnet of arcface_torch: it lacks {first_few(map(shown, missing), 1)}'
        )
    wanted = RESNET_UNITS[cfg['num_layers']]
    if units != wanted:
        raise CheckpointError(
            f'{path} does not fit num_layers={cfg["num_layers"]}, which has {_listed(wanted)} units in its stages: '
            f'it has {_listed(units)}, {_name_of(units)}'
        )
    theirs = {ours: name for name, ours in rules.items() if ours}
    arrays = {ours: state[name] for ours, name in theirs.items()}
    if part == WHOLE:
        target = 'the network of the config'
        check_fit(get_symbol(cfg), arrays, image_shape=cfg['image_shape'], source=path, target=target)
    values = {ours: _float32(array, f'{path}: {theirs[ours]}') for ours, array in arrays.items()}
    return _with_fixed_gamma(values, path)


def _check_config(cfg: Mapping[str, Any], free: Sequence[str]) -> None:
    """Raise CheckpointError unless arcface_torch has a network of this kind, whatever its depth and the free keys."""
    for key, taken in TAKES.items():
        value = LONG_NAMES.get(key, {}).get(cfg[key], cfg[key])
        if key not in free and value not in taken:
            wanted = ' or '.join(map(repr, taken))
            raise CheckpointError(
                f'{key}={cfg[key]!r} does not go with weights of arcface_torch, whose networks have {wanted}'
            )
    if cfg['num_layers'] not in RESNET_UNITS:
        raise CheckpointError(
            f'num_layers={cfg["num_layers"]} does not go with weights of arcface_torch, '
            f'which are for the presets {", ".join(PRESETS.values())}'
        )


def _units(state: Mapping[str, Any]) -> Tuple[int, ...]:
    """Return how many residual units each stage has by the highest number in the names."""
    units = [0] * STAGES
    for name in state:
        match = UNIT_NAME.match(name)
        if match:
            stage = int(match.group(1)) - 1
            units[stage] = max(units[stage], int(match.group(2)) + 1)
    return tuple(units)


def _layers(units: Sequence[int]) -> Iterator[Layer]:
    """Yield all layers of a network with so many units in its stages."""
    yield from STEM
    for stage, count in enumerate(units, start=1):
        for unit in range(count):
            for theirs, ours, holds in (*UNIT, *PROJECTION) if unit == 0 else UNIT:
                yield Layer(f'layer{stage}.{unit}.{theirs}', f'stage{stage}_unit{unit + 1}_{ours}', holds)
    yield from HEAD


def _rules(units: Sequence[int]) -> Iterator[Tuple[str, Optional[str]]]:
    """Yield each name in a file with ours; None for what is not read."""
    for theirs, ours, holds in _layers(units):
        for there, here in holds.items():
            yield f'{theirs}.{there}', here and f'{ours}_{here}'


def _network_of(units: Tuple[int, ...]) -> Optional[str]:
    for network, preset in PRESETS.items():
        depth = NETWORKS[preset]['num_layers']
        if RESNET_UNITS[DEPTHS.get(depth, depth)] == units:
            return network
    return None


def _name_of(units: Tuple[int, ...]) -> str:
    network = _network_of(units)
    return (
        f'as the {network}, whose preset is {PRESETS[network]}'
        if network
        else f'as none of {", ".join(PRESETS)}'
    )


def _listed(units: Sequence[int]) -> str:
    return ', '.join(map(str, units))


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
