"""Networks out of MXNet: ONNX, ncnn, PyTorch, Keras, safetensors, and checkpoints rewritten for inference."""

from __future__ import annotations

from recognition.export.mxnet_export import export_mxnet
from recognition.export.ncnn_export import export_ncnn
from recognition.export.onnx.metadata import check_origin, read_metadata
from recognition.export.onnx_export import Options, export_onnx
from recognition.export.optimized_export import export_optimized
from recognition.export.parity import Check
from recognition.export.weights_export import export_keras, export_pytorch, export_safetensors

__all__ = [
    'Check',
    'Options',
    'check_origin',
    'export_keras',
    'export_mxnet',
    'export_ncnn',
    'export_onnx',
    'export_optimized',
    'export_pytorch',
    'export_safetensors',
    'read_metadata',
]
