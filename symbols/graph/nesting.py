"""A nested graph frame by frame: what each frame holds, and the arrows inside it and across its border.

A picture whose frames open and close draws a frame's inside by itself. An arrow between boxes in different frames
is therefore told in pieces: from border to border where both frames lie side by side, and from the border to the
box within each. The pieces of one tensor carry the same `tensor`, so that they can meet at one point of the border.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from symbols.graph.model import Box, Graph, Group
from symbols.graph.topology import long_ways
from symbols.ir.nodes import Shape

BORDER = ''  # the end of an arrow that comes from outside the frame, or leads out of it


@dataclass(frozen=True)
class Arrow:
    """An arrow between two children of a frame, or one and the border; `tensor` is the box that it comes from."""

    source: str
    target: str
    tensor: str
    shape: Shape  # () where several shapes go this way
    skip: bool = False


@dataclass(frozen=True)
class Frame:
    """The inside of a group, or of the whole picture: ids of boxes and groups, in the order of the data's way."""

    children: Tuple[str, ...]
    arrows: Tuple[Arrow, ...]


@dataclass(frozen=True)
class Sums:
    """What a group holds and costs: the sums over its boxes; `macs` is None where one of them is unknown."""

    parameters: int
    auxiliary: int
    macs: Optional[int]
    shared: Tuple[str, ...]


def frames(graph: Graph) -> Dict[Optional[str], Frame]:
    """Return the inside of every group of a graph by its id, and of the whole picture by None."""
    around = _around(graph)
    shapes: Dict[Optional[str], Dict[Tuple[str, str, str], List[Shape]]] = defaultdict(dict)

    def piece(frame: Optional[str], source: str, target: str, tensor: str, shape: Shape) -> None:
        shapes[frame].setdefault((source, target, tensor), []).append(shape)

    for edge in graph.edges:
        out, into = around[edge.source], around[edge.target]
        common = next(
            i for i, (a, b) in enumerate(zip(out, into)) if a != b
        )  # the last element is the box itself
        piece(out[common - 1], str(out[common]), str(into[common]), edge.source, edge.shape)
        for i in range(common, len(out) - 1):
            piece(out[i], str(out[i + 1]), BORDER, edge.source, edge.shape)
        for i in range(common, len(into) - 1):
            piece(into[i], BORDER, str(into[i + 1]), edge.source, edge.shape)

    children: Dict[Optional[str], Dict[str, None]] = defaultdict(dict)  # an ordered set
    for box in graph.boxes:
        for frame, child in zip(around[box.id], around[box.id][1:]):
            children[frame].setdefault(str(child))
    return {frame: Frame(tuple(held), _arrows(shapes[frame])) for frame, held in children.items()}


def _around(graph: Graph) -> Dict[str, List[Optional[str]]]:
    """Return for each box the frames around it from the outermost, None, to the innermost, and the box."""
    parents = {group.id: group.parent for group in graph.groups}
    found: Dict[str, List[Optional[str]]] = {}
    for box in graph.boxes:
        way: List[Optional[str]] = [box.id]
        frame = box.group
        while frame is not None:
            way.insert(0, frame)
            frame = parents[frame]
        found[box.id] = [None, *way]
    return found


def _arrows(shapes: Mapping[Tuple[str, str, str], Sequence[Shape]]) -> Tuple[Arrow, ...]:
    ends = {key: (key[0] or f'>{key[2]}', key[1] or f'<{key[2]}') for key in shapes}
    skips = long_ways(list(dict.fromkeys(ends.values())))
    return tuple(
        Arrow(*key, found[0] if len(set(found)) == 1 else (), ends[key] in skips)
        for key, found in shapes.items()
    )


def sums(graph: Graph) -> Dict[str, Sums]:
    """Return the sums over the boxes of every group, by its id."""
    groups = {group.id: group for group in graph.groups}
    inside: Dict[str, List[Box]] = defaultdict(list)
    for box in graph.boxes:
        group: Optional[Group] = groups.get(box.group or '')
        while group is not None:
            inside[group.id].append(box)
            group = groups.get(group.parent or '')
    return {name: _sum(boxes) for name, boxes in inside.items()}


def _sum(boxes: Sequence[Box]) -> Sums:
    costs = [box.macs for box in boxes if box.macs is not None]
    here = {name for box in boxes for name in box.counted}
    return Sums(
        parameters=sum(box.parameters for box in boxes),
        auxiliary=sum(box.auxiliary for box in boxes),
        macs=sum(costs) if len(costs) == len(boxes) else None,
        shared=tuple(dict.fromkeys(name for box in boxes for name in box.shared if name not in here)),
    )
