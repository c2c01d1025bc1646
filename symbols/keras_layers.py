"""How Keras calls the layers of the networks whose Keras weights can be read: by our names, or by numbers.

keras.applications names its layers, and the parameters here are named after them. A layer without a name of its own
Keras calls by its class and a running number (`conv2d_146`), in the order in which a process builds layers. Where the
numbers begin is chance, and some may be missing (a layer that was built and never used), so only their order counts:
the first conv2d of a file in number order is the first Conv2D of `keras_layers`, and so on.

Up to Keras 2.3 (keras_applications.resnet50), and in many articles, ResNet-50 has the names of Caffe's: `layer_names`
has both.
"""

from __future__ import annotations

import re
from string import ascii_lowercase
from typing import Any, Dict, List, Mapping, Tuple

from config.errors import ConfigError
from config.keys import FAMILY_NAMES
from symbols.backbones import BACKBONES

FAMILIES = ('keras_densenet', 'keras_resnet', 'xception')

CLASSIFIER = 'fc1'  # the classifier head's layer
KERAS_NAMES = {CLASSIFIER: 'predictions'}  # our layer -> Keras's, where a layer has another name there
OLDER_CLASSIFIERS = ('fc1000', 'probs')  # what keras_applications called it
OLDER_STEM = {'conv1_conv': 'conv1', 'conv1_bn': 'bn_conv1'}
OLDER_BRANCHES = {'0': '1', '1': '2a', '2': '2b', '3': '2c'}
OLDER_EPS = 1e-3  # of the batch norms of a ResNet-50 with the older names

# Ending of a parameter -> Keras's class of the layer that has it. A separable convolution is one layer of Keras's and
# two of ours, `<layer>_dw` and `<layer>_pw`.
CLASSES = {
    '_dw_weight': 'SeparableConv2D',
    '_pw_weight': None,
    '_weight': 'Conv2D',
    '_moving_mean': 'BatchNormalization',
}


def keras_layers(cfg: Mapping[str, Any]) -> Dict[str, List[str]]:
    """Return those of our layers that Keras numbers, by Keras's class, each list in the order of Keras's numbers.

    All layers of the articles' networks (net_variant='article'), in keras.applications' Xception the convolutions and
    batch norms of the shortcuts, elsewhere none: the other layers have the same name in Keras, or that of KERAS_NAMES.
    `cfg` is a whole config. Raises ConfigError for a family that is not one of Keras's.
    """
    numbered = {
        keras_class: [layer for layer in layers if cfg['net_variant'] == 'article' or '_shortcut_' in layer]
        for keras_class, layers in model_layers(cfg).items()
    }
    return {keras_class: layers for keras_class, layers in numbered.items() if layers}


def model_layers(cfg: Mapping[str, Any]) -> Dict[str, List[str]]:
    """Return all our layers with weights, by Keras's class, each list in the order of Keras's `model.layers`.

    A `.weights.h5` file counts the layers of each class in this order, whatever they are called. Arguments and errors
    as in `keras_layers`.
    """
    family = FAMILY_NAMES.get(cfg['net_name'])
    if family not in FAMILIES:
        raise ConfigError(
            f'net_name={cfg["net_name"]!r} is not a network of Keras; those are {", ".join(FAMILIES)}'
        )
    found: Dict[str, List[str]] = {}
    for parameter in BACKBONES.get(family)(cfg).collect_params():
        keras_class, layer = _class_and_layer(parameter)
        if keras_class:
            found.setdefault(keras_class, []).append(layer)
    older = cfg['net_variant'] == 'article' or cfg['bn_eps'] == OLDER_EPS  # whose shortcuts come last
    if family == 'keras_resnet' and not older:
        found = {keras_class: _shortcuts_before_third(layers) for keras_class, layers in found.items()}
    return {**found, 'Dense': [CLASSIFIER]}


def layer_names(cfg: Mapping[str, Any]) -> Dict[str, str]:
    """Return our layer by each name that it may have in a file of Keras; numbered ones are those of `keras_layers`."""
    layers = [layer for layers in model_layers(cfg).values() for layer in layers]
    names = {KERAS_NAMES.get(layer, layer): layer for layer in layers}
    return {**names, **dict.fromkeys(OLDER_CLASSIFIERS, CLASSIFIER), **older_names(cfg)}


def older_names(cfg: Mapping[str, Any]) -> Dict[str, str]:
    """Return our layer by its older name (`res2a_branch2a`, `bn2a_branch2a`), {} where a family has none."""
    if FAMILY_NAMES[cfg['net_name']] != 'keras_resnet':
        return {}
    found = {}
    for layer in (layer for layers in model_layers(cfg).values() for layer in layers):
        match = re.fullmatch(r'conv(\d)_block(\d+)_(\d)_(conv|bn)', layer)
        if layer in OLDER_STEM:
            found[OLDER_STEM[layer]] = layer
        elif match and int(match[2]) <= len(ascii_lowercase):
            kind = {'conv': 'res', 'bn': 'bn'}[match[4]]
            unit = ascii_lowercase[int(match[2]) - 1]
            found[f'{kind}{match[1]}{unit}_branch{OLDER_BRANCHES[match[3]]}'] = layer
    return found


def _class_and_layer(parameter: str) -> Tuple[str, str]:
    for ending, keras_class in CLASSES.items():
        if parameter.endswith(ending):
            return keras_class or '', parameter[: -len(ending)]
    return '', ''


def _shortcuts_before_third(layers: List[str]) -> List[str]:
    """Move a unit's shortcut (0) before the branch's third layer: keras.applications builds them 1, 2, 0, 3."""
    ordered = list(layers)
    for index, layer in enumerate(layers):
        if '_0_' in layer:
            ordered[index - 1 : index + 1] = [layer, layers[index - 1]]
    return ordered
