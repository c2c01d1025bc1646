"""ONNX Runtime, from an ONNX file."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

import numpy as np

from recognition.engines.base import Engine, Wanted, damaged
from recognition.engines.model import Model
from recognition.engines.onnx_input import input_of, precision_of
from recognition.tracing.points import Trace

ERRORS_ONLY = 3  # of its log
QUIET = 'ORT_DISABLE_TELEMETRY'  # its builds of late report to their maker, and leave a database in ~/.cache


class OnnxRuntimeEngine(Engine):
    """A session on the CPU."""

    name, reads, package, extra = 'onnxruntime', 'onnx', 'onnxruntime', 'onnx'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        os.environ.setdefault(QUIET, '1')
        runtime = self.load_package()
        options = runtime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = threads or 0
        try:
            self._session: Any = runtime.InferenceSession(
                str(model.path), options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # its classes of errors have no common base
            raise damaged(model, error) from error
        port = self._session.get_inputs()[0]
        sides = [side if isinstance(side, int) else None for side in port.shape]
        self._input = input_of(model, port.type == 'tensor(uint8)', sides, image_shape)
        self._path = model.path
        self._names = [port.name], [self._session.get_outputs()[0].name]
        self.image_shape = self._input.image_shape
        self.precision, self.limit = precision_of(model.path)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 images (N, H, W, C), RGB or grey, as float32 (N, D)."""
        (name,), outputs = self._names
        return self._input.run(images, lambda data: self._session.run(outputs, {name: data})[0])

    def trace(self, images: np.ndarray) -> Trace:
        """Return what every operator gives."""
        return self._input.trace(self._path.read_bytes(), images)

    @property
    def metadata(self) -> Dict[str, str]:
        """Return the metadata of the ONNX file."""
        return dict(self._session.get_modelmeta().custom_metadata_map)
