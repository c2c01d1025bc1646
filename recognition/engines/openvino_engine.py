"""OpenVINO, from an ONNX file, which it reads itself."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Optional, Sequence

import numpy as np

from recognition.engines.base import BFLOAT16_LIMIT, LIMIT, Wanted, damaged
from recognition.engines.model import Model
from recognition.engines.onnx_input import OnnxEngine
from recognition.tracing.onnx_trace import whole_content
from recognition.tracing.points import Trace
from recognition.utils.processes import kept_signal_stack


class OpenVINOEngine(OnnxEngine):
    """A compiled model on the CPU, in float32."""

    name, package, extra = 'openvino', 'openvino', 'openvino'
    # Left to itself it computes in bfloat16 on processors that have it, which may move an embedding by more than LIMIT.
    hint: ClassVar[str] = 'f32'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        openvino = self.load_package()
        self._read(model, image_shape)
        settings: Dict[str, Any] = {'INFERENCE_PRECISION_HINT': self.hint, 'PERFORMANCE_HINT': 'LATENCY'}
        if threads is not None:
            settings['INFERENCE_NUM_THREADS'] = threads
        core = openvino.Core()
        self._core, self._settings = core, settings
        try:
            with kept_signal_stack():
                network = core.read_model(str(model.path))
                if (
                    None in self._file.inputs[0].sides
                ):  # its kernels do not check shapes that are open until they run
                    network.reshape(list(self._input.sides()))
                self._compiled: Any = core.compile_model(network, 'CPU', settings)
        except Exception as error:  # a RuntimeError, mostly
            raise damaged(model, error) from error
        self._settle_batch()

    def _forward(self, data: np.ndarray) -> np.ndarray:
        with kept_signal_stack():
            return np.array(self._compiled([data])[self._input.output.name])

    def trace(self, images: np.ndarray) -> Trace:
        """Return what every operator gives."""
        with kept_signal_stack():
            return self._input.trace(whole_content(self._path), images, self._run_all)

    def _run_all(self, content: bytes, data: np.ndarray) -> Sequence[np.ndarray]:
        compiled = self._core.compile_model(self._core.read_model(content, b''), 'CPU', self._settings)
        found = compiled([data])
        return [found[port] for port in compiled.outputs]


class OpenVINOBfloat16Engine(OpenVINOEngine):
    """The same in bfloat16, for processors that have it: twice as fast, and chosen by name alone."""

    name, exact, hint = 'openvino-bf16', False, 'bf16'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        super().__init__(model, image_shape, threads)
        if self.limit == LIMIT:  # not of INT8
            self.precision, self.limit = 'bfloat16', BFLOAT16_LIMIT
