"""A symbol as an ONNX graph, operator by operator."""

from __future__ import annotations

from recognition.export.onnx.converter import to_onnx
from recognition.export.onnx.metadata import read_metadata

__all__ = ['read_metadata', 'to_onnx']
