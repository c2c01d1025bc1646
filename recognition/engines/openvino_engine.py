"""OpenVINO, from an ONNX file, which it reads itself."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Optional, Sequence

import numpy as np

from recognition.engines.base import BFLOAT16_LIMIT, LIMIT, Engine, Wanted, damaged
from recognition.engines.model import Model
from recognition.engines.onnx_input import input_of, precision_of
from recognition.tracing.points import Trace
from recognition.utils.processes import kept_signal_stack

METADATA = 'framework'  # where it keeps what an ONNX file says of itself


class OpenVINOEngine(Engine):
    """A compiled model on the CPU, in float32."""

    name, reads, package, extra = 'openvino', 'onnx', 'openvino', 'openvino'
    # Left to itself it computes in bfloat16 on processors that have it, which may move an embedding by more than LIMIT.
    hint: ClassVar[str] = 'f32'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        openvino = self.load_package()
        settings: Dict[str, Any] = {'INFERENCE_PRECISION_HINT': self.hint, 'PERFORMANCE_HINT': 'LATENCY'}
        if threads is not None:
            settings['INFERENCE_NUM_THREADS'] = threads
        core = openvino.Core()
        self._path, self._core, self._settings = model.path, core, settings
        try:
            with kept_signal_stack():
                read = core.read_model(str(model.path))
                self._compiled: Any = core.compile_model(read, 'CPU', settings)
        except Exception as error:  # a RuntimeError, mostly
            raise damaged(model, error) from error
        port = read.inputs[0]
        sides = [side.get_length() if side.is_static else None for side in port.get_partial_shape()]
        self._input = input_of(model, port.get_element_type() == openvino.Type.u8, sides, image_shape)
        self.image_shape = self._input.image_shape
        self.precision, self.limit = precision_of(model.path)
        held = read.get_rt_info(METADATA).value if read.has_rt_info(METADATA) else {}
        self._metadata = {key: str(value) for key, value in held.items()}

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 images (N, H, W, C), RGB or grey, as float32 (N, D)."""
        with kept_signal_stack():
            return self._input.run(images, lambda data: np.array(self._compiled([data])[0]))

    def trace(self, images: np.ndarray) -> Trace:
        """Return what every operator gives."""
        with kept_signal_stack():
            return self._input.trace(self._path.read_bytes(), images, self._run_all)

    def _run_all(self, content: bytes, data: np.ndarray) -> Sequence[np.ndarray]:
        compiled = self._core.compile_model(self._core.read_model(content, b''), 'CPU', self._settings)
        found = compiled([data])
        return [found[port] for port in compiled.outputs]

    @property
    def metadata(self) -> Dict[str, str]:
        """Return the metadata of the ONNX file."""
        return self._metadata


class OpenVINOBfloat16Engine(OpenVINOEngine):
    """The same in bfloat16, for processors that have it: twice as fast, and chosen by name alone."""

    name, exact, hint = 'openvino-bf16', False, 'bf16'

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        super().__init__(model, image_shape, threads)
        if self.limit == LIMIT:  # not of INT8
            self.precision, self.limit = 'bfloat16', BFLOAT16_LIMIT
