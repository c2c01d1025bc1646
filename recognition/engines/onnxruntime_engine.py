"""ONNX Runtime, from an ONNX file."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any, Optional

import numpy as np

from recognition.engines.base import Wanted, damaged
from recognition.engines.model import Model
from recognition.engines.onnx_input import OnnxEngine
from recognition.utils.files import readable, unicode_path

SILENT = 4  # its log's level for what ends the process; an error is raised as well as logged
QUIET = 'ORT_DISABLE_TELEMETRY'  # its builds of late report to their maker, and leave a database in ~/.cache


class OnnxRuntimeEngine(OnnxEngine):
    """A session on the CPU."""

    name, package, extra = 'onnxruntime', 'onnxruntime', 'onnx'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        runtime = self.load_package()
        self._read(model, image_shape)
        options = runtime.SessionOptions()
        options.log_severity_level = SILENT
        options.intra_op_num_threads = threads or 0
        try:
            with open(model.path, 'rb') as file:
                path = str(model.path)  # beside which it looks for weights in files of their own
                path = path if path == readable(path) else unicode_path(file)
                self._session: Any = runtime.InferenceSession(
                    path, options, providers=['CPUExecutionProvider']
                )
        except Exception as error:  # its classes of errors have no common base
            raise damaged(model, error) from error
        self._settle_batch()

    @classmethod
    def load_package(cls) -> ModuleType:
        """Import the package, which then reports to nobody; MissingExtra says how to install it."""
        os.environ.setdefault(QUIET, '1')
        return super().load_package()

    def _forward(self, data: np.ndarray) -> np.ndarray:
        return np.asarray(self._session.run([self._input.output.name], {self._input.name: data})[0])
