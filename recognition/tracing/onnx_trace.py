"""The trace of an ONNX graph: all that its operators give made outputs, and run."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np

from config.errors import CheckpointError, first_few
from recognition.tracing.points import Point, Trace
from recognition.utils.files import PathLike
from recognition.utils.packages import require

ERRORS_ONLY = 3  # of onnxruntime's log
Run = Callable[[bytes, np.ndarray], Sequence[np.ndarray]]  # a file's content and its input -> its outputs


def whole_content(path: PathLike) -> bytes:
    """Return the content of a file that `trace_onnx` takes: with the values, where they are in files beside it."""
    onnx = require('onnx', 'onnx', 'the layers of an ONNX file')
    content: bytes = onnx.load(str(path)).SerializeToString()
    return content


def trace_onnx(content: bytes, data: np.ndarray, run: Optional[Run] = None) -> Trace:
    """Run a file's content, which has one input, on what that takes; `run`: by onnxruntime unless it says otherwise.

    What does not depend on the input is no point of the trace, nor is what holds whole numbers.
    """
    onnx = require('onnx', 'onnx', 'the layers of an ONNX file')
    model = onnx.load_from_string(content)
    graph = model.graph
    parameters = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    entries = [each.name for each in graph.input if each.name not in parameters]
    if len(entries) != 1:
        raise CheckpointError(
            f'the graph takes {len(entries)} inputs, {first_few(entries)}, where one is wanted'
        )
    entry = entries[0]
    varying = {entry}
    nodes = []
    for node in graph.node:
        if varying.intersection(node.input):
            varying.update(node.output)
            nodes.append(node)
    names = [name for node in nodes for name in node.output if name]
    ends = [each.name for each in graph.output]
    graph.ClearField('output')
    graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, names))
    results = (run or _onnxruntime)(model.SerializeToString(), data)
    found = {name: array for name, array in zip(names, map(np.asarray, results)) if array.dtype.kind == 'f'}
    places: Dict[str, int] = {entry: 0}
    points: List[Point] = [Point(entry, '', (), np.asarray(data, np.float32))]
    for node in nodes:
        for name in node.output:
            if name in found:
                places[name] = len(points)
                points.append(_point(node, name, found[name], places, parameters))
    return Trace(points, tuple(places[name] for name in ends if name in places), parameters)


def _point(
    node: Any, name: str, values: np.ndarray, places: Dict[str, int], parameters: Dict[str, Any]
) -> Point:
    read = tuple(places[each] for each in node.input if each in places)
    constants = tuple(each for each in node.input if each in parameters)
    return Point(name, node.op_type, read, values.astype(np.float32, copy=False), constants)


def _onnxruntime(content: bytes, data: np.ndarray) -> Sequence[np.ndarray]:
    os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
    runtime = require('onnxruntime', 'onnx', 'running an ONNX file')
    options = runtime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = runtime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
    found: Sequence[np.ndarray] = session.run(None, {session.get_inputs()[0].name: data})
    return found
