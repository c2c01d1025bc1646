"""ONNX files of face networks, recognised by their structure and read into networks here."""

from __future__ import annotations

from recognition.weights.onnx.reader import read_onnx

__all__ = ['read_onnx']
