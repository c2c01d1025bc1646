"""What training refuses before it reads a face or writes a file."""

from __future__ import annotations

from typing import Any

from config import complete
from config.checks import check_training
from config.errors import ConfigError
from recognition.data.dataset import TrainingFaces
from recognition.optim.lr_schedule import check_schedule
from symbols.ir.shapes import infer_shapes

import mxnet as mx

EMBEDDING_AXES = 2  # (N, D)


def check_settings(cfg: Any) -> None:
    """Raise ConfigError for settings that build a network, and with which none can be trained."""
    check_training(cfg)
    check_schedule(cfg)


def settle_classes(cfg: Any, dataset: TrainingFaces) -> Any:
    """Return a copy of `cfg` with the data set's num_classes; ConfigError where `cfg` says another number."""
    if cfg.num_classes not in (0, dataset.num_classes):
        raise ConfigError(
            f'num_classes={cfg.num_classes}, and {dataset.folder / "property"} says {dataset.num_classes}; '
            'num_classes=0 takes it from there'
        )
    return complete({**cfg, 'num_classes': dataset.num_classes})


def check_embedding(symbol: mx.sym.Symbol, cfg: Any) -> None:
    """Raise ConfigError unless the network turns an image of image_shape into emb_size values."""
    height, width, channels = cfg.image_shape
    shape = infer_shapes(symbol, data=(1, channels, height, width)).outputs[0]
    if shape != (1, cfg.emb_size):
        raise ConfigError(
            f'net_output={cfg.net_output!r} gives {shape[1:]} for each image, and training needs a head that gives '
            f'an embedding of emb_size={cfg.emb_size} values'
            + (f'; emb_size={shape[1]} is what it gives' if len(shape) == EMBEDDING_AXES else '')
        )
