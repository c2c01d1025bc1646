"""What training refuses before it reads a face or writes a file."""

from __future__ import annotations

from typing import Any

from config import complete
from config.checks import check_training, trains_classes
from config.errors import ConfigError
from recognition.data.dataset import TrainingFaces
from recognition.losses.class_scores import balanced_weights
from recognition.optim.lr_schedule import check_schedule
from symbols.ir.shapes import infer_shapes

import mxnet as mx

EMBEDDING_AXES = 2  # (N, D)


def check_settings(cfg: Any) -> None:
    """Raise ConfigError for settings that build a network, and with which none can be trained."""
    check_training(cfg)
    check_schedule(cfg)


def settle_classes(cfg: Any, dataset: TrainingFaces) -> Any:
    """Return a copy of `cfg` with the data set's num_classes, and balanced class_weights as numbers.

    Raises ConfigError where `cfg` has another number of classes or of their weights.
    """
    if cfg.num_classes not in (0, dataset.num_classes):
        raise ConfigError(
            f'num_classes={cfg.num_classes}, and {dataset.folder / "property"} says {dataset.num_classes}; '
            'num_classes=0 takes it from there'
        )
    weights = cfg.class_weights
    if weights == 'balanced':
        weights = balanced_weights(dataset.labels, dataset.num_classes)
    if weights and len(weights) != dataset.num_classes:
        raise ConfigError(
            f'class_weights has {len(weights)} weights, and {dataset.folder / "property"} says {dataset.num_classes} '
            'classes; a weight for each is wanted'
        )
    return complete({**cfg, 'num_classes': dataset.num_classes, 'class_weights': weights})


def check_output(symbol: mx.sym.Symbol, cfg: Any) -> None:
    """Raise ConfigError unless the network turns an image of image_shape into the values that the loss reads."""
    height, width, channels = cfg.image_shape
    shape = infer_shapes(symbol, data=(1, channels, height, width)).outputs[0]
    if shape != (1, cfg.num_classes if trains_classes(cfg) else cfg.emb_size):
        raise ConfigError(
            f'net_output={cfg.net_output!r} gives {shape[1:]} for each image, and training needs a head that gives '
            f'an embedding of emb_size={cfg.emb_size} values'
            + (f'; emb_size={shape[1]} is what it gives' if len(shape) == EMBEDDING_AXES else '')
        )
