"""InsightFace's iresnets, as arcface_torch has them in PyTorch and we have them here: names, settings, numbers.

Every name in a state dict has a rule here. The networks are the same but for what SETTINGS says, and names.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from config.errors import CheckpointError
from config.keys import FAMILY_NAMES, HEAD_NAMES
from config.presets import NETWORKS, RESNET_UNITS
from recognition.checkpoint.matching import BODY, FITTING, WHOLE
from symbols.layers import Norm

NORM_EPS = Norm().eps

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
# What goes into the parameters where it is otherwise here, see `as_torch`.
MOVED = ('bn_eps', 'input_scale', 'input_order')
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
NO_NETWORK = 'as none of'
STAGES = 4
UNIT_NAME = re.compile(r'layer([1-4])\.(\d{1,3})\.')  # no more digits: a name must not make a million rules
CHANNELS = 3
LAST = 'bn1_gamma'  # of the batch norm of the last feature map
FIRST = 'conv0_weight'
FIXED = 'fc1_gamma'  # held at 1 there (no gradient) as here (fix_gamma)
MAP_SIZE = 7  # of the last feature map, height and width, which arcface_torch's networks take for granted
VARIANCE = '_moving_var'
SCALED = ('pre_fc1_weight', 'pre_fc1_bias', 'fc1_moving_mean')  # what takes its place where it is not 1


def settings_for(num_layers: int) -> Dict[str, Any]:
    """Return the settings that such weights need on top of a preset: SETTINGS, and the depth if it differs here."""
    return {**SETTINGS, **({'num_layers': DEPTHS[num_layers]} if num_layers in DEPTHS else {})}


def check_config(cfg: Mapping[str, Any], free: Sequence[str]) -> None:
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


def units_of(state: Mapping[str, Any]) -> Tuple[int, ...]:
    """Return how many residual units each stage has by the highest number in the names."""
    units = [0] * STAGES
    for name in state:
        match = UNIT_NAME.match(name)
        if match:
            stage = int(match.group(1)) - 1
            units[stage] = max(units[stage], int(match.group(2)) + 1)
    return tuple(units)


def layers_of(units: Sequence[int]) -> Iterator[Layer]:
    """Yield all layers of a network with so many units in its stages."""
    yield from STEM
    for stage, count in enumerate(units, start=1):
        for unit in range(count):
            for theirs, ours, holds in (*UNIT, *PROJECTION) if unit == 0 else UNIT:
                yield Layer(f'layer{stage}.{unit}.{theirs}', f'stage{stage}_unit{unit + 1}_{ours}', holds)
    yield from HEAD


def rules_of(units: Sequence[int]) -> Iterator[Tuple[str, Optional[str]]]:
    """Yield each name in a file with ours; None for what is not read."""
    for theirs, ours, holds in layers_of(units):
        for there, here in holds.items():
            yield f'{theirs}.{there}', here and f'{ours}_{here}'


def network_of(units: Tuple[int, ...]) -> Optional[str]:
    """Return the name of the network with so many units, a key of PRESETS."""
    for network, preset in PRESETS.items():
        depth = NETWORKS[preset]['num_layers']
        if RESNET_UNITS[DEPTHS.get(depth, depth)] == units:
            return network
    return None


def name_of(units: Tuple[int, ...]) -> str:
    """Return the end of a sentence that names the network with so many units, or says that there is none."""
    network = network_of(units)
    if network:
        return f'as {network} (--network {PRESETS[network]})'
    return f'{NO_NETWORK} {", ".join(PRESETS)}'


def listed(units: Sequence[int]) -> str:
    """Return the units of the stages as text."""
    return ', '.join(map(str, units))


def as_torch(name: str, value: np.ndarray, cfg: Mapping[str, Any]) -> np.ndarray:
    """Return a parameter of the network of `cfg` as arcface_torch's network computes the same with it.

    A batch norm divides by the root of var + eps, so that the difference of the eps goes into the variance; the first
    convolution, which is linear, takes the scale of the pixels, 1 / 127.5 there, and their order, RGB there.
    """
    if name == FIXED:
        return np.ones_like(value)
    if name.endswith(VARIANCE):
        moved = value + (np.float64(eps_of(cfg)) - SETTINGS['bn_eps'])
    elif name == FIRST:
        scales = np.broadcast_to(np.float64(cfg['input_scale']) / SETTINGS['input_scale'], value.shape[1])
        moved = value * scales[:, None, None]
        moved = moved[:, ::-1] if cfg['input_order'] == 'bgr' else moved
    else:
        return value
    return np.ascontiguousarray(moved, np.float32)


def check_export(cfg: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> None:
    """Raise CheckpointError unless arcface_torch has the network of `cfg`, with parameters of these shapes."""
    check_config(cfg, MOVED)
    units = RESNET_UNITS[cfg['num_layers']]
    if name_of(units).startswith(NO_NETWORK):
        raise CheckpointError(
            f'num_layers={cfg["num_layers"]} has {listed(units)} units in its stages, {name_of(units)} '
            f'(of which the iresnet200 is num_layers={DEPTHS[200]} here)'
        )
    if eps_of(cfg) < SETTINGS['bn_eps']:
        raise CheckpointError(
            f'bn_eps={cfg["bn_eps"]} is less than the {SETTINGS["bn_eps"]} of arcface_torch, so a variance could '
            'become negative'
        )
    (_, channels, *_), (_, inputs) = values[FIRST].shape, values[SCALED[0]].shape
    if channels != CHANNELS or inputs != values[LAST].size * MAP_SIZE**2:
        raise CheckpointError(
            f'image_shape={tuple(cfg["image_shape"])!r} does not go with weights of arcface_torch, whose networks take '
            '112x112 images in colour'
        )


def eps_of(cfg: Mapping[str, Any]) -> float:
    """Return the eps of the network's batch norms."""
    return float(NORM_EPS if cfg['bn_eps'] is None else cfg['bn_eps'])
