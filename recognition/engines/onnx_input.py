"""What an ONNX graph takes and gives, for the engines that read one."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Sequence

import numpy as np

from config.errors import CheckpointError
from recognition.data.images import channels_first
from recognition.engines.base import (
    CHANNELS,
    INT8_LIMIT,
    INT8_OPERATORS,
    LIMIT,
    Shape,
    Wanted,
    agreed_shape,
)
from recognition.tracing.onnx_trace import Run as RunAll
from recognition.tracing.onnx_trace import trace_onnx
from recognition.tracing.points import Trace, trace_each


class Input(NamedTuple):
    """Images as a graph takes them: uint8 (N, H, W, C), or float32 (N, C, H, W) in 0..255."""

    as_bytes: bool
    image_shape: Shape
    batch: Optional[int]  # images at a time, where the graph fixes it

    def run(self, images: np.ndarray, forward: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return `forward` of uint8 images (N, H, W, C), in as many calls as the graph's batch asks for."""
        data = np.ascontiguousarray(images) if self.as_bytes else channels_first(images)
        if self.batch is None:
            return forward(data)
        rows = []
        for start in range(0, len(data), self.batch):
            part = data[start : start + self.batch]
            lacking = [(0, self.batch - len(part)), *[(0, 0)] * 3]
            rows.append(forward(np.pad(part, lacking))[: len(part)])
        return np.concatenate(rows)

    def trace(self, content: bytes, images: np.ndarray, run: Optional[RunAll] = None) -> Trace:
        """Return what every operator of a graph gives for uint8 images (N, H, W, C); arguments as `trace_onnx` has."""

        def alone(image: np.ndarray) -> Trace:
            traces: List[Trace] = []

            def forward(data: np.ndarray) -> np.ndarray:
                traces.append(trace_onnx(content, data, run))
                return traces[0].points[0].values

            self.run(image, forward)
            return traces[0]

        return trace_each(images, alone)


def input_of(source: object, is_uint8: bool, sides: Sequence[Optional[int]], image_shape: Wanted) -> Input:
    """Describe a graph's input by its type and `sides` (None for one that is open).

    Raises CheckpointError where it takes no images, ConfigError where it takes images of another size.
    """
    found = list(sides)
    height, width, channels = (
        found[1:] if is_uint8 else [*found[2:], *found[1:2]] if len(found) == 4 else [0] * 3
    )
    if len(found) != 4 or channels not in (*CHANNELS, None):
        raise CheckpointError(
            f'{source} takes an input of shape {tuple(found)}, which is not a batch of RGB or grey images'
        )
    return Input(is_uint8, agreed_shape(source, (height, width, channels), image_shape), found[0])


class Precision(NamedTuple):
    """What an engine computes in, and the cosine distance from MXNet's embedding that goes with it."""

    name: str
    limit: float


def precision_of(path: Path) -> Precision:
    """Return the precision of an ONNX file: INT8 where one of its operators is a quantised one."""
    content = path.read_bytes()
    if any(operator in content for operator in INT8_OPERATORS):
        return Precision('INT8', INT8_LIMIT)
    return Precision('float32', LIMIT)
