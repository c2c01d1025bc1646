"""The trace of ncnn's pair: its graph as text, which names what each layer reads and gives."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np

from recognition.tracing.points import Point, Trace

HEAD_LINES = 2  # the magic number, and how many layers and blobs there are
INPUT = 'Input'


def trace_ncnn(graph: str, data: np.ndarray, extract: Callable[[str], Any]) -> Trace:
    """Return the trace of one image (C, H, W).

    graph: the text of the .param file. extract: gives the array of a blob, by its name.
    """
    places: Dict[str, int] = {}
    points: List[Point] = []
    for line in graph.splitlines()[HEAD_LINES:]:
        operator, layer, reads, gives, *words = line.split()
        read = tuple(places[blob] for blob in words[: int(reads)])
        for blob in words[int(reads) : int(reads) + int(gives)]:
            places[blob] = len(points)
            values = data if operator == INPUT else np.array(extract(blob), np.float32)
            points.append(Point(layer, operator, read, values[None]))
    return Trace(points, (len(points) - 1,), {})
