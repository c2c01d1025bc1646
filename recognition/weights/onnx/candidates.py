"""Search for the preset and the settings of an ONNX file."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from config import resolve
from config.errors import CheckpointError, ConfigError
from config.keys import FAMILY_NAMES
from config.network_keys import NETWORK
from config.presets import FAMILIES, HEADS, NETWORKS, RESNET_BOTTLENECK, RESNET_UNITS
from recognition.checkpoint.matching import BODY
from recognition.weights.arcface_torch import DEPTHS
from recognition.weights.onnx.matching import Difference
from recognition.weights.onnx.reader import OnnxFile, match_file, named, settings_for
from recognition.weights.onnx.steps import CONV, LEAKY, NORM, PRELU
from symbols import get_block

Settings = Dict[str, Any]
RESNET = 'resnet'
KERNEL_AXES = 4  # of the weight of a convolution
UNITS = (3, 1, 2, 4)  # net_unit, the likeliest first
IMAGENET_KERNEL = 7  # of the stem with net_input=0
# What an activation leaves in a graph: the operator, and the names of those that it may be.
ACTIVATIONS = {
    PRELU: ('prelu', 'prelu_channel'),
    'Elu': ('elu',),
    LEAKY: ('leaky',),
    'Relu': ('relu',),
    'Tanh': ('tanh',),
    'Softplus': ('softrelu',),
    'Softsign': ('softsign',),
    'Sigmoid': ('swish', 'sigmoid'),
}


def identify(file: OnnxFile, given: Mapping[str, Any]) -> Tuple[str, Settings]:
    """Return the preset that a file is of, and its settings with those that are given on top.

    Raises CheckpointError, which names the nearest preset and what differs first, where it is of none.
    """
    nearest: Optional[Difference] = None
    name = ''
    for network, settings in _ranked(file, given):
        try:
            return network, _try(file, network, settings)
        except Difference as error:
            if nearest is None or error.matched > nearest.matched:
                nearest, name = error, network
    if nearest is None:
        raise CheckpointError(f'{file.path} is not a network of any preset')
    narrow = not nearest.matched and 'net_multiplier' not in given
    hint = '; a network of another width needs --config net_multiplier=...' if narrow else ''
    raise CheckpointError(
        f'{file.path} is not a network of any preset; the nearest is {name}: the file {named(nearest, name)}{hint}'
    )


def _ranked(file: OnnxFile, given: Mapping[str, Any]) -> Iterator[Tuple[str, Settings]]:
    """Yield the candidates whose kernels the file has, those with fewest others first; where none is so, the nearest.

    A block is built in a moment, while the graph of a network takes some.
    """
    there = Counter(step.held['weight'].shape for step in file.graph.steps if step.op == CONV)
    ranked = []
    for network, settings in _candidates(file, given):
        whole = {**settings, **given}
        try:
            parameters = get_block(resolve(network, **whole)).backbone.collect_params().values()
        except ConfigError:  # there is no such network
            continue
        own = Counter(each.shape for each in parameters if len(each.shape) == KERNEL_AXES)
        ranked.append((sum((own - there).values()), sum((there - own).values()), network, whole))
    ranked.sort(key=lambda row: row[:2])
    for _, _, network, settings in [row for row in ranked if not row[0]] or ranked[:1]:
        cfg = resolve(network)
        acts = _activations(cfg['net_act'], {step.op for step in file.graph.steps})
        for act in [settings['net_act']] if 'net_act' in settings else acts:
            yield network, {**settings, 'net_act': act}


def _try(file: OnnxFile, network: str, settings: Settings) -> Settings:
    """Return the whole settings with which a preset is the file's network, with another head where it has one."""
    own = _whole(file, network, settings)
    try:
        match_file(file, resolve(network, **own))
        return own
    except Difference as error:
        if 'net_output' in settings:
            raise
        match_file(file, resolve(network, **own), BODY)
        for head in HEADS:
            try:
                other = _whole(file, network, {**settings, 'net_output': head})
                match_file(file, resolve(network, **other))
                return other
            except (ConfigError, Difference):
                continue
        raise error from None


def _whole(file: OnnxFile, network: str, settings: Settings) -> Settings:
    return {**settings_for(file, resolve(network, **settings)), **settings}


def _candidates(file: OnnxFile, given: Mapping[str, Any]) -> Iterator[Tuple[str, Settings]]:
    if 'config' in file.metadata and not given:
        yield from _recorded(file)
    for network in [*_resnets(file), *(name for name in NETWORKS if _family(name) != RESNET)]:
        settings: Settings = {}
        if 'net_se' in FAMILIES[_family(network)].reads:
            settings['net_se'] = any(step.op == 'Sigmoid' for step in file.graph.steps)
        if _family(network) != RESNET:
            yield network, settings
            continue
        for unit, more in product(UNITS, (0, RESNET_BOTTLENECK)):
            depth = _depth(file) + more
            yield network, {**settings, 'num_layers': depth, 'net_unit': unit, 'net_input': _stem(file)}


def _family(network: str) -> str:
    return FAMILY_NAMES[NETWORKS[network]['net_name']]


def _recorded(file: OnnxFile) -> Iterator[Tuple[str, Settings]]:
    """Yield the network that a file's metadata records, where it does."""
    try:
        held = json.loads(file.metadata['config'])
        network = held['network']
        preset = resolve(network)
        yield (
            network,
            {key: held[key] for key in NETWORK if key in held and _plain(held[key]) != _plain(preset[key])},
        )
    except (ValueError, KeyError, TypeError):  # the graph says it, too
        return


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _activations(own: str, operators: Any) -> List[str]:
    """Return the activations that a file may have, that of the preset first where it is among them."""
    found = [name for operator, names in ACTIVATIONS.items() if operator in operators for name in names]
    kept = [own] if own in found or (own == 'prelu' and LEAKY in operators) else []
    return list(dict.fromkeys([*kept, *found[:2]])) or [own]


def _resnets(file: OnnxFile) -> List[str]:
    """Return the ResNet preset of the file's depth, or r50."""
    depth = next((layers for layers, theirs in DEPTHS.items() if theirs == _depth(file)), _depth(file))
    presets = FAMILIES[RESNET].presets
    return [next((name for name, row in presets.items() if row['num_layers'] == depth), 'r50')]


def _depth(file: OnnxFile) -> int:
    """Return the num_layers whose stages come nearest to the residual sums of each width."""
    units = file.units
    depths = {stages: depth for depth, stages in RESNET_UNITS.items()}

    def apart(stages: Tuple[int, ...]) -> int:
        return sum(abs(one - other) for one, other in zip(stages, units)) + 100 * abs(
            len(stages) - len(units)
        )

    return depths[min(depths, key=apart)]


def _stem(file: OnnxFile) -> int:
    """Return net_input."""
    first = file.graph.steps[0]
    imagenet = first.op == CONV and first.settings['kernel'][0] == IMAGENET_KERNEL
    return 2 if first.op == NORM else 0 if imagenet else 1
