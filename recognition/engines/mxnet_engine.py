"""MXNet itself, from a checkpoint: as an engine, and as the reference that engines are compared with."""

from __future__ import annotations

import logging
import os
import sys
from typing import Optional

import numpy as np

from recognition.engines.base import DEFAULT_SHAPE, Engine, Shape, channels_first
from recognition.engines.model import Model

logger = logging.getLogger(__name__)


class MXNetEngine(Engine):
    """The network rewritten for inference, on the CPU."""

    name, reads, package = 'mxnet', 'checkpoint', 'mxnet'

    def __init__(self, model: Model, image_shape: Optional[Shape], threads: Optional[int]) -> None:
        _set_threads(threads)
        from recognition.inference import Bound, load_optimized

        self.image_shape = image_shape or DEFAULT_SHAPE
        self._bound = Bound(*load_optimized(model.path, model.epoch, self.image_shape))

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 RGB images (N, H, W, 3) as float32 (N, D)."""
        return self._bound(channels_first(images))


class Reference(Engine):
    """The network as it is saved, which every engine is compared with."""

    name, reads, package = 'mxnet, as saved', 'checkpoint', 'mxnet'

    def __init__(self, model: Model, image_shape: Optional[Shape], threads: Optional[int] = None) -> None:
        from recognition.checkpoint import load_network

        self.image_shape = image_shape or DEFAULT_SHAPE
        self._net = load_network(model.path, model.epoch, image_shape=self.image_shape)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 RGB images (N, H, W, 3) as float32 (N, D)."""
        import mxnet as mx

        return np.asarray(self._net(mx.nd.array(channels_first(images))).asnumpy())


def _set_threads(threads: Optional[int]) -> None:
    """Give MXNet its number of threads, which it reads once, when it is imported."""
    if threads is None:
        return
    if 'mxnet' not in sys.modules:
        os.environ['OMP_NUM_THREADS'] = str(threads)
    elif os.environ.get('OMP_NUM_THREADS') != str(threads):
        logger.warning(
            'threads=%d has no effect on MXNet, which is imported already: set OMP_NUM_THREADS=%d before',
            threads,
            threads,
        )
