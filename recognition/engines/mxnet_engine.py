"""MXNet itself, from a checkpoint: as an engine, and as the reference that engines are compared with."""

from __future__ import annotations

from functools import partial
from typing import Optional

import numpy as np

from recognition.data.images import channels_first
from recognition.engines.base import Engine, Wanted, agreed_shape
from recognition.engines.model import Model
from recognition.engines.mxnet_threads import settle_threads, warn_of_threads
from recognition.tracing.points import Trace, trace_each


class MXNetEngine(Engine):
    """The network rewritten for inference, on the CPU."""

    name, reads, package = 'mxnet', 'checkpoint', 'mxnet'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        settle_threads(threads)
        warn_of_threads(threads)
        from recognition.engines.mxnet_executor import Bound, load_optimized

        self.image_shape = agreed_shape(model, None, image_shape)
        self._held = load_optimized(model.path, model.epoch, self.image_shape, output=model.output)
        self._bound = Bound(*self._held)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 images (N, H, W, C), RGB or grey, as float32 (N, D)."""
        return self._bound(channels_first(images))

    def trace(self, images: np.ndarray) -> Trace:
        """Return what every layer of the rewritten network gives."""
        from recognition.tracing.symbol_trace import trace_symbol

        return trace_each(channels_first(images), partial(trace_symbol, *self._held))


class Reference(Engine):
    """The network as it is saved, which every engine is compared with."""

    name, reads, package = 'mxnet, as saved', 'checkpoint', 'mxnet'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int] = None) -> None:
        from recognition.checkpoint.network import load_network

        self.image_shape = agreed_shape(model, None, image_shape)
        self._net = load_network(model.path, model.epoch, image_shape=self.image_shape, output=model.output)
        self._model = model

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 images (N, H, W, C), RGB or grey, as float32 (N, D)."""
        import mxnet as mx

        return np.asarray(self._net(mx.nd.array(channels_first(images))).asnumpy())

    def trace(self, images: np.ndarray) -> Trace:
        """Return what every layer gives."""
        from recognition.checkpoint.network import load_embedding
        from recognition.tracing.symbol_trace import trace_symbol

        saved = load_embedding(self._model.path, self._model.epoch, self._model.output)
        return trace_each(channels_first(images), partial(trace_symbol, saved.symbol, saved.values))
