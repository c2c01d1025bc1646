"""Keras's ways to prepare images, as settings of a network that does it inside.

The modes are those of keras.applications.imagenet_utils.preprocess_input, of RGB images in 0..255.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping

from config.keys import FAMILY_NAMES

MODES: Dict[str, Dict[str, Any]] = {
    # x / 255 less 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225: ImageNet's means and deviations
    'torch': {
        'input_order': 'rgb',
        'input_mean': (123.675, 116.28, 103.53),
        'input_scale': (1 / 58.395, 1 / 57.12, 1 / 57.375),
    },
    'caffe': {'input_order': 'bgr', 'input_mean': (103.939, 116.779, 123.68), 'input_scale': 1.0},
    'tf': {'input_order': 'rgb', 'input_mean': 127.5, 'input_scale': 1 / 127.5},
    'none': {'input_order': 'rgb', 'input_mean': 0.0, 'input_scale': 1.0},
}
PIXEL_KEYS = ('input_mean', 'input_scale', 'input_order')
FAMILY_MODES = {'keras_densenet': 'torch', 'keras_resnet': 'caffe', 'xception': 'tf'}


def mode_of(cfg: Mapping[str, Any]) -> str:
    """Return the mode of a network of Keras; 'none' for another, and for those of articles, which say nothing of it."""
    return 'none' if cfg['net_variant'] else FAMILY_MODES.get(FAMILY_NAMES[cfg['net_name']], 'none')
