"""Input and output of ONNX files, common to the engines that run them."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from config.errors import CheckpointError, ConfigError
from recognition.engines.base import (
    CHANNELS,
    FLOAT16_LIMIT,
    INT8_LIMIT,
    LIMIT,
    Engine,
    Shape,
    Wanted,
    agreed_shape,
    output_of,
)
from recognition.engines.model import Model
from recognition.engines.onnx_file import OnnxFile, Port, read_onnx_file
from recognition.tracing.onnx_trace import Run as RunAll
from recognition.tracing.onnx_trace import trace_onnx, whole_content
from recognition.tracing.points import Trace, trace_each
from recognition.utils.pixels import RAW, Pixels


class OnnxEngine(Engine):
    """An engine that reads an ONNX file.

    A subclass calls `_read` before it opens the file, and `_settle_batch` afterwards.
    """

    reads = 'onnx'

    def _read(self, model: Model, image_shape: Wanted) -> None:
        """Read what the file says of its network; errors as `input_of` and `read_onnx_file`."""
        self._path, self._file = model.path, read_onnx_file(model.path)
        for each in self._file.value_files:
            if not each.is_file():
                raise CheckpointError(f'{each} does not exist, in which {model} keeps values')
        self._input = input_of(model, self._file, image_shape)
        self.image_shape = self._input.image_shape
        if self._file.is_int8:
            self.precision, self.limit = 'INT8', INT8_LIMIT
        elif self._input.kind == 'float16':
            self.precision, self.limit = 'float16', FLOAT16_LIMIT

    def _settle_batch(self) -> None:
        """Take images one by one where the graph fixes that of its output alone, and several come out otherwise."""
        if self._input.batch is not None or self._input.output.sides[:1] != (1,):
            return
        images = np.random.default_rng(0).integers(0, 256, (2, *self.image_shape), dtype=np.uint8)
        singly = self._input._replace(batch=1)
        try:
            together, apart = self.embed(images), singly.run(images, self._forward)
        except Exception:  # the packages have no error in common
            self._input = singly
            return
        if together.shape != apart.shape or np.abs(together - apart).max() > LIMIT * np.abs(apart).max():
            self._input = singly

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 images (N, H, W, C), RGB or grey, as float32 (N, D)."""
        return self._input.run(images, self._forward)

    def trace(self, images: np.ndarray) -> Trace:
        """Return what every operator gives."""
        return self._input.trace(whole_content(self._path), images)

    def _forward(self, data: np.ndarray) -> np.ndarray:
        """Return the output for a batch as the graph takes it."""
        raise NotImplementedError

    @property
    def metadata(self) -> Dict[str, str]:
        """Return the metadata of the ONNX file."""
        return self._file.metadata


class Input(NamedTuple):
    """Images as a graph takes them: as `kind` (of `onnx_file.KINDS`), (N, C, H, W) or, channels_last, (N, H, W, C)."""

    name: str
    output: Port  # the one that is the embedding
    kind: str
    channels_last: bool
    pixels: Pixels
    image_shape: Shape
    batch: Optional[int]  # images at a time, where the graph fixes it

    def sides(self) -> Tuple[int, ...]:
        """Return the sides of a batch as the graph takes it; -1 where any number of images will do."""
        height, width, channels = self.image_shape
        planes = (height, width, channels) if self.channels_last else (channels, height, width)
        return (self.batch or -1, *planes)

    def run(self, images: np.ndarray, forward: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return `forward` of uint8 images (N, H, W, C), in as many calls as the graph's batch asks for."""
        data = self.pixels.planes(images)
        data = np.ascontiguousarray(data.transpose(0, 2, 3, 1) if self.channels_last else data, self.kind)
        if self.batch is None:
            return _without_sides_of_one(forward(data))
        rows = []
        for start in range(0, len(data), self.batch):
            part = data[start : start + self.batch]
            lacking = [(0, self.batch - len(part)), *[(0, 0)] * 3]
            rows.append(_without_sides_of_one(forward(np.pad(part, lacking)))[: len(part)])
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


def _without_sides_of_one(rows: np.ndarray) -> np.ndarray:
    """Return an embedding that is a map of one pixel, (N, D, 1, 1), as (N, D)."""
    return rows.reshape(rows.shape[:2]) if rows.shape[2:] == (1,) * (rows.ndim - 2) else rows


def input_of(model: Model, file: OnnxFile, image_shape: Wanted) -> Input:
    """Describe a graph's input, and the output that the model names.

    Raises CheckpointError where it takes no images, ConfigError where it takes images of another size, or gives several
    outputs and none is named.
    """
    if len(file.inputs) != 1:
        names = ', '.join(port.name for port in file.inputs) or 'none'
        raise CheckpointError(
            f'{model} has {len(file.inputs)} inputs ({names}); it must have one, the images'
        )
    port, pixels = file.inputs[0], model.pixels or RAW
    batch, *sides = port.sides or (None,)
    last = len(sides) == 3 and sides[0] not in CHANNELS and (sides[2] in CHANNELS or port.kind == 'uint8')
    height, width, channels = (sides if last else [*sides[1:], sides[0]]) if len(sides) == 3 else [0] * 3
    if not port.kind or channels not in (*CHANNELS, None):
        raise CheckpointError(
            f'{model} takes {port.kind or "another type than float32, float16 or uint8"} of shape {port.sides}, '
            'which is not a batch of RGB or grey images'
        )
    shape = agreed_shape(model, (height, width, channels), image_shape)
    pixels.check(shape[2])
    if port.kind == 'uint8' and not pixels.same_as(RAW._replace(order=pixels.order)):
        raise ConfigError(f'{model} takes bytes, 0..255 as they are, which cannot hold pixels {pixels}')
    outputs = {each.name: each for each in file.outputs}
    output = outputs[output_of(model, list(outputs))]
    return Input(port.name, output, port.kind, last, pixels, shape, batch)
