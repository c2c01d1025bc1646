"""How Keras calls the layers of the networks whose Keras weights can be read: by our names, or by numbers.

keras.applications names its layers, and the parameters here are named after them. A layer without a name of its own
Keras calls by its class and a running number (`conv2d_146`), in the order in which a process builds layers. Where the
numbers begin is chance, and some may be missing (a layer that was built and never used), so only their order counts:
the first conv2d of a file in number order is the first Conv2D of `keras_layers`, and so on.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Tuple

from config.errors import ConfigError
from config.keys import FAMILY_NAMES
from symbols.backbones import BACKBONES

FAMILIES = ('keras_densenet', 'keras_resnet', 'xception')

CLASSIFIER = 'fc1'  # the classifier head's layer
KERAS_NAMES = {CLASSIFIER: 'predictions'}  # our layer -> Keras's, where a layer has another name there

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
            f'net_name={cfg["net_name"]!r} is no network of Keras; those are {", ".join(FAMILIES)}'
        )
    found: Dict[str, List[str]] = {}
    for parameter in BACKBONES.get(family)(cfg).collect_params():
        keras_class, layer = _class_and_layer(parameter)
        if keras_class:
            found.setdefault(keras_class, []).append(layer)
    if family == 'keras_resnet' and cfg['net_variant'] is None:
        found = {keras_class: _shortcuts_before_third(layers) for keras_class, layers in found.items()}
    return {**found, 'Dense': [CLASSIFIER]}


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
