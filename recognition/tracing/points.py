"""A network's operators with the values that each gives for a few images."""

from __future__ import annotations

from typing import Callable, Mapping, NamedTuple, Sequence, Tuple

import numpy as np


class Point(NamedTuple):
    """What one operator gives, or the input: float32 (N, ...).

    inputs: places of the points that it reads. parameters: names of the constants that it reads.
    """

    name: str
    operator: str
    inputs: Tuple[int, ...]
    values: np.ndarray
    parameters: Tuple[str, ...] = ()


class Trace(NamedTuple):
    """The points of a network in an order in which each comes after what it reads.

    outputs: places of those that are the network's. parameters: constants by name.
    """

    points: Sequence[Point]
    outputs: Tuple[int, ...]
    parameters: Mapping[str, np.ndarray]


def trace_each(images: np.ndarray, trace: Callable[[np.ndarray], Trace]) -> Trace:
    """Return one trace of images (N, ...) that are run one by one, since some graphs take no more."""
    alone = [trace(image[None]) for image in images]
    points = []
    for place, point in enumerate(alone[0].points):
        parts = [each.points[place].values[:1] for each in alone]  # a graph of a fixed batch gives more
        points.append(point._replace(values=np.concatenate(parts)))
    return alone[0]._replace(points=points)
