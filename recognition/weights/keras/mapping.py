"""Weights of Keras's networks (keras.applications, and those of articles on Keras) for our networks.

Every layer of such a file must have a rule here, and every parameter of the network its weight: by the layer's name,
by the number of a layer that Keras named itself, or, in files that have no names, by its place in `model.layers`.
No shape decides what a weight is.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from config import complete
from config.errors import CheckpointError, first_few
from config.keys import FAMILY_NAMES, HEAD_NAMES
from config.preprocessing import MODES, PIXEL_KEYS
from config.presets import FAMILIES as NETWORKS_OF
from recognition.checkpoint.matching import parts_of
from recognition.utils.files import PathLike
from recognition.weights.keras.graph_check import check_graph
from recognition.weights.keras.reader import KerasFile, Layer, Variable, open_keras, shown, split_number
from symbols import get_symbol
from symbols.keras_layers import (
    CLASSIFIER,
    FAMILIES,
    OLDER_EPS,
    keras_layers,
    layer_names,
    model_layers,
    older_names,
)

Arrays = Dict[str, np.ndarray]
Shape = Tuple[int, ...]
Places = Mapping[str, Sequence[str]]  # Keras's class -> our layers in order

NAMED = 3  # how many layers an error names


class Rule(NamedTuple):
    """Which parameter of the layer a weight of Keras's is, and the order of its axes there."""

    ending: str
    axes: Tuple[int, ...] = (0,)


CONVOLUTION = (3, 2, 0, 1)  # height, width, in, out -> out, in, height, width

# Weights by Keras's class of the layer, in the order in which Keras numbers them.
RULES: Dict[str, Dict[str, Rule]] = {
    'Conv2D': {'kernel': Rule('_weight', CONVOLUTION), 'bias': Rule('_bias')},
    'SeparableConv2D': {
        'depthwise_kernel': Rule('_dw_weight', (2, 3, 0, 1)),
        'pointwise_kernel': Rule('_pw_weight', CONVOLUTION),
        'bias': Rule('_pw_bias'),
    },
    'BatchNormalization': {
        'gamma': Rule('_gamma'),
        'beta': Rule('_beta'),
        'moving_mean': Rule('_moving_mean'),
        'moving_variance': Rule('_moving_var'),
    },
    'Dense': {'kernel': Rule('_weight', (1, 0)), 'bias': Rule('_bias')},
}
# Keras's classes, and how names of layers that Keras named itself begin, in Keras 1 and since.
KINDS = {
    'conv2d': 'Conv2D',
    'convolution2d': 'Conv2D',
    'separable_conv2d': 'SeparableConv2D',
    'separableconvolution2d': 'SeparableConv2D',
    'separable_convolution2d': 'SeparableConv2D',
    'batch_normalization': 'BatchNormalization',
    'batchnormalization': 'BatchNormalization',
    'dense': 'Dense',
}
KERAS_HEADS = ('classifier', 'pool', 'map')  # include_top, and without it pooling='avg' or 'max', or none
# Settings that change numbers and neither a name nor a shape; a file that holds the model tells some of them.
UNSEEN = ('net_act', 'net_input', 'bn_eps', 'padding')
TOLD_BY_MODELS = ('net_act', 'bn_eps', 'net_pool')
ARTICLE_ACTIVATIONS = (
    'elu',
    'relu',
)  # of the ResNet-50 that is built layer by layer, in articles and in Keras to 2.2.2


def read_keras(path: PathLike, cfg: Mapping[str, Any]) -> Arrays:
    """Read a Keras file of the network of `cfg` as float32 arrays by our names, moving statistics included.

    The classifier is read where the network has one (net_output='classifier'): left out for another head, and absent
    where the file has none (include_top=False). Its softmax is no part of the network here, which gives logits.

    Raises CheckpointError for a config of a network that Keras does not have, or with settings that would make other
    numbers of such weights than Keras does (a file that holds the model may have another eps), a file that
    `open_keras` refuses, and one with a layer missing, without a rule, of another shape, or, where the file holds the
    model, connected otherwise; MissingExtra without h5py.
    """
    cfg = complete(cfg)
    wanted = _wanted(cfg)
    with open_keras(path) as file:
        _check_settings(cfg, file, path)
        matched = list(_matched(file.layers, cfg, path))
        found = {
            name: (variable, axes)
            for ours, keras_class, layer in matched
            for name, variable, axes in _parameters(ours, keras_class, layer, wanted, path)
        }
        missing = [name for name in wanted if name not in found and not name.startswith(f'{CLASSIFIER}_')]
        if missing:
            raise CheckpointError(f'{path} has nothing for {first_few(missing, NAMED)} of the network')
        if file.config:
            names = {layer.name or '': ours for ours, _, layer in matched}
            check_graph(file.config, names, get_symbol(cfg), source=path)
        return {
            name: np.ascontiguousarray(variable.read().transpose(axes))
            for name, (variable, axes) in found.items()
        }


def to_keras(
    values: Mapping[str, np.ndarray], cfg: Mapping[str, Any], path: PathLike
) -> Iterator[Tuple[str, str, List[np.ndarray]]]:
    """Yield each layer of the network of `cfg`, Keras's class of it, and its weights as Keras has and orders them.

    The layers of a class are in the order of Keras's `model.layers`. Raises CheckpointError for a config of a network
    that Keras does not have, or with settings of which a file of weights, which is to be `path`, says nothing.
    """
    wanted = _wanted(cfg)
    _check_settings(cfg, KerasFile([], []), path, written=True)
    if HEAD_NAMES[cfg['net_output']] not in KERAS_HEADS:
        raise CheckpointError(
            f'net_output={cfg["net_output"]!r} is not a head of Keras, whose networks have {", ".join(KERAS_HEADS)}'
        )
    for keras_class, names in model_layers(cfg).items():
        for ours in names:
            rules = [(f'{ours}{ending}', axes) for ending, axes in RULES[keras_class].values()]
            held = [values[name].transpose(np.argsort(axes)) for name, axes in rules if name in wanted]
            if held:  # a network without its top has no classifier
                yield ours, keras_class, held


def _wanted(cfg: Mapping[str, Any]) -> Dict[str, Shape]:
    """Return the shapes of the parameters that Keras's weights are for, by name."""
    if FAMILY_NAMES.get(cfg['net_name']) not in FAMILIES:
        presets = ', '.join(preset for family in FAMILIES for preset in NETWORKS_OF[family].presets)
        raise CheckpointError(
            f'net_name={cfg["net_name"]!r} is not a network of Keras, whose files do not fit it; those of Keras are '
            f'{presets}'
        )
    parts = parts_of(cfg)
    return {**parts.backbone, **(parts.head if classifies(cfg) else {})}


def _check_settings(
    cfg: Mapping[str, Any], file: KerasFile, path: PathLike, *, written: bool = False
) -> None:
    """Raise CheckpointError for settings that are not the weights' own and that no name or shape would contradict."""
    family = FAMILY_NAMES[cfg['net_name']]
    rows = [complete({'net_name': family, **row}) for row in NETWORKS_OF[family].presets.values()]
    own = next(row for row in rows if classifies(row) and row['net_variant'] == cfg['net_variant'])
    unseen = (*UNSEEN, 'net_pool') if classifies(cfg) else UNSEEN  # any other head is not Keras's
    taken: Dict[str, Tuple[Any, ...]] = {key: (own[key],) for key in unseen}
    names = {layer.name or '' for layer in file.layers}
    if family == 'keras_resnet' and cfg['net_variant']:
        taken['net_act'] = ARTICLE_ACTIVATIONS
    elif names & older_names(cfg).keys():
        taken['bn_eps'] = (OLDER_EPS,)
    elif (
        family == 'keras_resnet' and '' in names
    ):  # by the eps goes the order of layers, which the shapes contradict
        taken['bn_eps'] += (OLDER_EPS,)
    for key, values in taken.items():
        told = bool(file.config) and key in TOLD_BY_MODELS
        if cfg[key] not in values and not told:
            trained = ' or '.join(f'{key}={value!r}' for value in values)
            raise CheckpointError(f'{key}={cfg[key]!r} does not go with {path}: its network has {trained}')
    pixels = {key: cfg[key] for key in PIXEL_KEYS}
    if pixels not in MODES.values() and (written or not cfg['net_variant']):
        shown_pixels = ', '.join(f'{key}={value!r}' for key, value in pixels.items())
        raise CheckpointError(
            f"{shown_pixels} do not go with {path}: its network takes images as one of Keras's modes prepares them, "
            f'{", ".join(MODES)}'
        )


def classifies(cfg: Mapping[str, Any]) -> bool:
    """Whether the network has a classifier, whose softmax is a part of it in Keras."""
    return HEAD_NAMES[cfg['net_output']] == 'classifier'


def _matched(
    layers: Sequence[Layer], cfg: Mapping[str, Any], path: PathLike
) -> Iterator[Tuple[str, str, Layer]]:
    """Yield (our layer, Keras's class of it, the file's layer); CheckpointError where one is left over."""
    by_class = model_layers(cfg)
    if all(layer.name for layer in layers):
        found = _by_name(layers, layer_names(cfg), keras_layers(cfg), path)
    else:  # by the place among those of its class
        found = _in_order(((layer.kind or '', layer.number, layer) for layer in layers), by_class, path)
    known = {layer.label for layer in found.values()}
    extra = [layer.label for layer in layers if layer.label not in known]
    missing = [ours for names in by_class.values() for ours in names if ours not in found]
    if missing == [CLASSIFIER]:
        missing = []  # include_top=False
    if missing or extra:
        faults = [
            f'it lacks the layer {first_few(map(shown, missing), NAMED)}' if missing else '',
            f'there is no rule for its {first_few(extra, NAMED)}' if extra else '',
        ]
        raise CheckpointError(f'{path} does not fit the network: {"; ".join(filter(None, faults))}')
    if not classifies(cfg):
        found.pop(CLASSIFIER, None)
    for keras_class, names in by_class.items():
        for ours in names:
            if ours in found:
                yield ours, keras_class, found[ours]


def _by_name(
    layers: Sequence[Layer], own: Mapping[str, str], counted: Places, path: PathLike
) -> Dict[str, Layer]:
    """Return the file's layer of each of ours by its name; those that Keras numbered, by the order of the numbers."""
    found: Dict[str, Layer] = {}
    others: List[Layer] = []
    for layer in layers:
        name = layer.name or ''
        ours = own.get(name)
        if not ours:
            others.append(layer)
        elif ours in found:
            raise CheckpointError(f'{path} has two layers for {ours}: {found[ours].label} and {layer.label}')
        else:
            found[ours] = layer
    rest = {kind: [ours for ours in names if ours not in found] for kind, names in counted.items()}
    places = {kind: names for kind, names in rest.items() if names}
    if CLASSIFIER not in found:
        places['Dense'] = [CLASSIFIER]
    numbered = ((*split_number(layer.name or ''), layer) for layer in others)
    return {**found, **_in_order(numbered, places, path)}


def _in_order(counted: Iterable[Tuple[str, int, Layer]], places: Places, path: PathLike) -> Dict[str, Layer]:
    """Return the file's layer of each of ours: the n-th of a class by (kind, number, layer) is the n-th of `places`."""
    ordered: Dict[str, List[Layer]] = {}
    for kind, _, layer in sorted(counted, key=lambda row: row[:2]):
        ordered.setdefault(KINDS.get(kind, ''), []).append(layer)
    found: Dict[str, Layer] = {}
    for keras_class, names in places.items():
        layers = ordered.get(keras_class, [])
        if len(layers) != len(names) and (layers or keras_class != 'Dense'):
            raise CheckpointError(
                f'{path} does not fit the network: it has {len(layers)} numbered layers {keras_class} '
                f'where the network has {len(names)}'
            )
        found.update(zip(names, layers))
    return found


def _parameters(
    ours: str, keras_class: str, layer: Layer, wanted: Mapping[str, Shape], path: PathLike
) -> Iterator[Tuple[str, Variable, Shape]]:
    """Yield (parameter, weight, order of axes) of a layer; CheckpointError where its weights are not those of ours."""
    where = f'{path}: {layer.label}'
    if layer.kind and KINDS.get(layer.kind) != keras_class:
        raise CheckpointError(f'{where} is a {layer.kind} where a {keras_class} is wanted')
    rules = {role: rule for role, rule in RULES[keras_class].items() if f'{ours}{rule.ending}' in wanted}
    held = layer.variables
    if list(held) == [str(index) for index in range(len(rules))]:
        held = dict(zip(rules, held.values()))
    if set(held) != set(rules):
        raise CheckpointError(
            f'{where} holds {", ".join(map(shown, held))} where a {keras_class} with {", ".join(rules)} is wanted'
        )
    for role, (ending, axes) in rules.items():
        name, variable = f'{ours}{ending}', held[role]
        theirs = tuple(wanted[name][axes.index(axis)] for axis in range(len(axes)))
        if variable.shape != theirs:
            raise CheckpointError(
                f'{where}: its {role} is {variable.shape} instead of {theirs}{_hint(name, variable)}'
            )
        yield name, variable, axes


def _hint(name: str, variable: Variable) -> str:
    """Return what may help where the classifier has another number of classes."""
    if name != f'{CLASSIFIER}_weight' or len(variable.shape) != 2:
        return ''
    return f' (num_classes={variable.shape[1]} builds the classifier of these weights)'
