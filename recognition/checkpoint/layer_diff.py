"""What two networks with the same parameters compute differently, which no shape of a parameter would betray.

Layers are matched by the names of their parameters, since nodes are named otherwise in other programs; activations
and poolings, which have none, by the name of their node.
"""

from __future__ import annotations

import json
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from config.errors import CheckpointError
from recognition.checkpoint.matching import own_name
from recognition.utils.pixels import RAW, Pixels
from symbols.ir.nodes import flag, read_attribute
from symbols.ir.padding import SAME, pads_of

import mxnet as mx

INPUT = 'data'
NAMED = 3  # how many kinds of difference an error names
REVERSAL = 'reverse'
PADS_AS_TENSORFLOW = (REVERSAL, 'Pad')  # before a pooling and a convolution of `symbols.layers`
GLUON_NODE = '_fwd'  # what Gluon's own layers put behind the name of their node
INNER_POOLING = '_pooled'  # where `symbols.layers` mirrors around it
PIXEL_LAYER = 'the input'
CHANNEL_AXIS = (1, (1,))  # of images (N, C, H, W), as the attribute of an operator
# What a difference is in words, and which key of the config removes it.
WORDS = {
    'activation': 'is {saved} instead of {own}',
    'eps': 'has eps {saved:g} instead of {own:g}',
    'fix_gamma': 'has fix_gamma={saved} instead of {own}',
    'mean': 'has {saved!r} taken off every pixel instead of {own!r}',
    'scale': 'has every pixel multiplied by {saved!r} instead of {own!r}',
    'order': 'has its channels in the order {saved} instead of {own}',
    'stride': 'has stride {saved} instead of {own}',
    'pad': 'has padding {saved} instead of {own}',
    'padding': 'pads as {saved} instead of {own}',
    'pool': 'takes the {saved} of the map instead of its {own}',
}
KEYS = {
    'eps': 'bn_eps',
    'order': 'input_order',
    'mean': 'input_mean',
    'scale': 'input_scale',
    'padding': 'padding',
    'pool': 'net_pool',
}

Nodes = List[Dict[str, Any]]
Traits = Dict[Tuple[str, str], Any]  # (layer, what) -> value


class Difference(NamedTuple):
    """One property of a layer that two networks do not share."""

    layer: str
    what: str
    saved: Any
    own: Any

    def __str__(self) -> str:
        return f'{self.layer} {WORDS[self.what].format(saved=self.saved, own=self.own)}'


def differences(saved: mx.sym.Symbol, own: mx.sym.Symbol) -> List[Difference]:
    """Return what the layers that both have do differently: activation, batch norm, stride, padding, pixel constants.

    Momentum and dropout do not count, since a trained network does not use them.
    """
    theirs, mine = traits(saved), traits(own)
    return [
        Difference(*key, value, mine[key]) for key, value in theirs.items() if mine.get(key, value) != value
    ]


def check_same_layers(saved: mx.sym.Symbol, own: mx.sym.Symbol, *, source: object, target: object) -> None:
    """Raise CheckpointError where `differences` finds one, with the settings that would remove it."""
    found = differences(saved, own)
    if found:
        raise CheckpointError(f'{source} does not fit {target}: {describe(found)}')


def describe(found: Iterable[Difference]) -> str:
    """Return differences in words, those alike counted, and the keys of the config that remove them."""
    kinds: Dict[Tuple[str, Any, Any], List[Difference]] = {}
    for difference in found:
        kinds.setdefault(difference[1:], []).append(difference)
    words = [
        f'{alike[0]}' + (f' (and {len(alike) - 1} more layers)' if len(alike) > 1 else '')
        for alike in kinds.values()
    ]
    more = f'; and {len(words) - NAMED} more differences' if len(words) > NAMED else ''
    settings = [f'{key}={value!r}' for key, value in _settings(kinds).items()]
    hint = f'; with {" and ".join(settings)} it is built so' if settings else ''
    return '; '.join(words[:NAMED]) + more + hint


def _settings(kinds: Iterable[Tuple[str, Any, Any]]) -> Dict[str, Any]:
    """Return the settings that give the saved values, where one value would do for all layers."""
    values: Dict[str, set] = {}
    for what, saved, _ in kinds:
        if what in KEYS:
            values.setdefault(KEYS[what], set()).add(saved)
    return {key: next(iter(found)) for key, found in values.items() if len(found) == 1}


def pixel_formula(symbol: mx.sym.Symbol) -> str:
    """Return what a network makes of the pixels x before its first layer, '' where it takes them as they are."""
    pixels = pixel_layers(json.loads(symbol.tojson())['nodes'])[1]
    return '' if pixels == RAW else pixels.words()


def traits(symbol: mx.sym.Symbol) -> Traits:
    """Return what each layer computes, apart from its parameters, by (layer, what)."""
    nodes = json.loads(symbol.tojson())['nodes']
    names = {node['name'] for node in nodes}
    found: Traits = {
        (PIXEL_LAYER, what): value for what, value in pixel_layers(nodes)[1].as_metadata().items()
    }
    for node in nodes:
        reader = READERS.get(node['op'])
        layer = _layer(node, nodes) if reader else None
        if reader and layer:
            found.update({(layer, what): value for what, value in reader(node, nodes)})
        kind = _activation(node, names)
        if kind:
            found[own_name(node['name']).replace(GLUON_NODE, ''), 'activation'] = kind
    return found


def _layer(node: Mapping[str, Any], nodes: Nodes) -> Optional[str]:
    """Return the name of the node's second input without its last word: `bn0` of `bn0_gamma`; of a pooling its own."""
    if node['op'] == 'Pooling':
        return own_name(node['name']).replace(GLUON_NODE, '').replace(INNER_POOLING, '')
    parameter = nodes[node['inputs'][1][0]]
    return own_name(parameter['name']).rpartition('_')[0] if parameter['op'] == 'null' else None


def _norm(node: Mapping[str, Any], nodes: Nodes) -> Iterator[Tuple[str, Any]]:
    attributes = node.get('attrs', {})
    yield 'eps', float(attributes.get('eps', 1e-3))
    yield 'fix_gamma', flag(attributes, 'fix_gamma', True)


def _window(node: Mapping[str, Any], nodes: Nodes) -> Iterator[Tuple[str, Any]]:
    attributes = node.get('attrs', {})
    if flag(attributes, 'global_pool', False):
        yield 'pool', attributes.get('pool_type', 'max')
        return
    axes = len(read_attribute(attributes, 'kernel'))
    yield 'stride', tuple(read_attribute(attributes, 'stride', ())) or (1,) * axes
    before = nodes[node['inputs'][0][0]]
    padded = pads_of(attributes, before.get('attrs', {}) if before['op'] == 'Pad' else {})
    yield 'pad', tuple(map(max, padded))
    pads = before['op'] in PADS_AS_TENSORFLOW and not _is_of_pixels(before)
    same = pads or SAME.items() <= attributes.items()
    yield 'padding', 'tf_same' if same else 'symmetric'


READERS: Dict[str, Callable[[Mapping[str, Any], Nodes], Iterator[Tuple[str, Any]]]] = {
    'BatchNorm': _norm,
    'Convolution': _window,
    'Pooling': _window,
}


def _activation(node: Mapping[str, Any], names: Any) -> Optional[str]:
    """Return the activation that a node ends; those of several nodes (symbols.activations) by the last one's name."""
    name, op, attributes = node['name'], node['op'], node.get('attrs', {})
    composed = {'elemwise_mul': ('swish', '_gate'), '_mul_scalar': ('selu', '_elu')}
    if op in composed and name + composed[op][1] in names:
        return composed[op][0]
    if op == 'Activation':
        return attributes['act_type']
    if op != 'LeakyReLU' or attributes.get('act_type') == 'prelu':  # a PReLU shows in its parameter
        return None
    kind = attributes.get('act_type', 'leaky')
    return f'{kind} of slope {float(attributes.get("slope", 0.25)):g}' if kind in ('leaky', 'elu') else kind


# Operators at the input, by which of utils.pixels.ARITHMETIC each is with which attribute; of others nothing is read.
PIXELS: Dict[str, Sequence[Tuple[str, str]]] = {
    '_minus_scalar': [('Sub', 'scalar')],
    '_plus_scalar': [('Add', 'scalar')],
    '_mul_scalar': [('Mul', 'scalar')],
    '_div_scalar': [('Div', 'scalar')],
    '_image_normalize': [('Sub', 'mean'), ('Div', 'std')],
    REVERSAL: [],
    '_copy': [],
    'Cast': [],
}


def pixel_layers(nodes: Nodes) -> Tuple[Optional[int], Pixels]:
    """Return the last of the nodes of a described graph that read pixels first, and what they make of RGB pixels.

    With no such nodes the first value is the input itself; None if the graph has no input.
    """
    pixels = RAW
    last = next((i for i, node in enumerate(nodes) if node['op'] == 'null' and node['name'] == INPUT), None)
    at = last
    while at is not None:
        last = at
        readers = [i for i, node in enumerate(nodes) if any(entry[0] == at for entry in node['inputs'])]
        at = readers[0] if len(readers) == 1 and _is_of_pixels(nodes[readers[0]]) else None
        if at is not None:
            for operator, key in PIXELS[nodes[at]['op']]:
                pixels = pixels.then(operator, read_attribute(nodes[at]['attrs'], key))
            pixels = pixels.turned() if nodes[at]['op'] == REVERSAL else pixels
    return last, pixels


def _is_of_pixels(node: Mapping[str, Any]) -> bool:
    """Return whether a node is of PIXELS; a reversal only where it is of channels, not TensorFlow's padding."""
    return node['op'] in PIXELS and (
        node['op'] != REVERSAL or read_attribute(node['attrs'], 'axis') in CHANNEL_AXIS
    )
