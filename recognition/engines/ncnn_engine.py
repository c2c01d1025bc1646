"""ncnn, from a pair NET.ncnn.param and NET.ncnn.bin: fast on 3x3 convolutions, which it transforms."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from config.errors import CheckpointError
from recognition.engines.base import DEFAULT_SHAPE, WINOGRAD_LIMIT, Engine, Shape, channels_first, damaged
from recognition.engines.model import Model

HALF_PRECISION = (
    'use_fp16_packed',
    'use_fp16_storage',
    'use_fp16_arithmetic',
    'use_bf16_packed',
    'use_bf16_storage',
)


class NcnnEngine(Engine):
    """A net on the CPU; the graph takes float32 (3, H, W) in 0..255, one image at a time."""

    name, reads, package, extra = 'ncnn', 'ncnn', 'ncnn', 'ncnn'
    precision, limit = 'float32 with Winograd', WINOGRAD_LIMIT

    def __init__(self, model: Model, image_shape: Optional[Shape], threads: Optional[int]) -> None:
        self._ncnn = self.load_package()
        self.image_shape = image_shape or DEFAULT_SHAPE
        net: Any = self._ncnn.Net()
        for option in HALF_PRECISION:
            if hasattr(net.opt, option):
                setattr(net.opt, option, False)
        if threads is not None:
            net.opt.num_threads = threads
        graph, values = map(str, model.files)
        try:
            refused = net.load_param(graph) or net.load_model(values)
        except Exception as error:
            raise damaged(model, error) from error
        if refused or len(net.input_names()) != 1 or not net.output_names():
            raise CheckpointError(f'{graph} and {values} are damaged, or not a pair that ncnn can load')
        self._net = net

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 RGB images (N, H, W, 3) as float32 (N, D)."""
        return np.stack([self._embed_one(image) for image in channels_first(images)])

    def _embed_one(self, image: np.ndarray) -> np.ndarray:
        extractor = self._net.create_extractor()
        extractor.input(self._net.input_names()[0], self._ncnn.Mat(image))
        status, out = extractor.extract(self._net.output_names()[-1])
        if status:
            raise CheckpointError(f'ncnn cannot run the network on images of {self.image_shape}')
        return np.array(out, dtype=np.float32).reshape(-1)
