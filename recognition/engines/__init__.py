"""Engines that embed images: a table of them.

Each reads one kind of file; `recognition.embedding` opens a network in one of them, and converts it where it must.
"""

from __future__ import annotations

from typing import Dict, Type

from recognition.engines.base import Engine
from recognition.engines.mxnet_engine import MXNetEngine
from recognition.engines.ncnn_engine import NcnnEngine
from recognition.engines.onnxruntime_engine import OnnxRuntimeEngine
from recognition.engines.openvino_engine import OpenVINOBfloat16Engine, OpenVINOEngine

__all__ = ['ENGINES', 'Engine']

ENGINES: Dict[str, Type[Engine]] = {
    engine.name: engine
    for engine in (MXNetEngine, OnnxRuntimeEngine, OpenVINOEngine, NcnnEngine, OpenVINOBfloat16Engine)
}
