"""Engines that embed images: a table of them, and how one is opened for a network.

Each reads one kind of file; a network of another kind is converted where there is a way (`convert`).
"""

from __future__ import annotations

from typing import Dict, Type

from recognition.engines.base import Engine
from recognition.engines.mxnet_engine import MXNetEngine
from recognition.engines.ncnn_engine import NcnnEngine
from recognition.engines.onnxruntime_engine import OnnxRuntimeEngine
from recognition.engines.openvino_engine import OpenVINOBfloat16Engine, OpenVINOEngine

ENGINES: Dict[str, Type[Engine]] = {
    engine.name: engine
    for engine in (MXNetEngine, OnnxRuntimeEngine, OpenVINOEngine, NcnnEngine, OpenVINOBfloat16Engine)
}
