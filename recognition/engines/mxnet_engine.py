"""MXNet itself, from a checkpoint: as an engine, and as the reference that engines are compared with."""

from __future__ import annotations

from typing import Optional

import numpy as np

from recognition.data.images import channels_first
from recognition.engines.base import Engine, Wanted, agreed_shape
from recognition.engines.model import Model
from recognition.engines.mxnet_threads import settle_threads, warn_of_threads


class MXNetEngine(Engine):
    """The network rewritten for inference, on the CPU."""

    name, reads, package = 'mxnet', 'checkpoint', 'mxnet'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        settle_threads(threads)
        warn_of_threads(threads)
        from recognition.engines.mxnet_executor import Bound, load_optimized

        self.image_shape = agreed_shape(model, None, image_shape)
        network = load_optimized(model.path, model.epoch, self.image_shape, output=model.output)
        self._bound = Bound(*network)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 images (N, H, W, C), RGB or grey, as float32 (N, D)."""
        return self._bound(channels_first(images))


class Reference(Engine):
    """The network as it is saved, which every engine is compared with."""

    name, reads, package = 'mxnet, as saved', 'checkpoint', 'mxnet'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int] = None) -> None:
        from recognition.checkpoint.network import load_network

        self.image_shape = agreed_shape(model, None, image_shape)
        self._net = load_network(model.path, model.epoch, image_shape=self.image_shape, output=model.output)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 images (N, H, W, C), RGB or grey, as float32 (N, D)."""
        import mxnet as mx

        return np.asarray(self._net(mx.nd.array(channels_first(images))).asnumpy())
