"""What a picture of a network is made of: boxes, arrows between them, and frames around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Tuple

from symbols.ir.nodes import Shape


@dataclass(frozen=True)
class Box:
    """One node of the picture; parameters, auxiliary and macs are sums over everything it stands for."""

    id: str
    kind: str  # input, output, stage, unit, join, operator
    title: str
    lines: Tuple[str, ...] = ()
    group: Optional[str] = None
    operators: Tuple[str, ...] = ()  # the names it stands for
    repeat: int = 1  # how many equal units are folded into it
    parameters: int = 0
    auxiliary: int = 0
    macs: Optional[int] = 0  # None where the cost of an operator is unknown
    counted: Tuple[str, ...] = ()  # the parameters that are counted here
    shared: Tuple[str, ...] = ()  # those it uses that another box counts


@dataclass(frozen=True)
class Edge:
    """One arrow with its tensor's shape, () where folded units differ in it."""

    source: str
    target: str
    shape: Shape
    skip: bool = False  # it passes at least one unit by on the way to a join


@dataclass(frozen=True)
class Group:
    """A frame around boxes: a stage, or a unit that is drawn once and repeated; a block or chain of a nested graph."""

    id: str
    kind: str  # stage, repeat, block, chain
    title: str
    parent: Optional[str] = None
    repeat: int = 1  # how many equal ones it stands for
    lines: Tuple[str, ...] = ()  # what it says when it is drawn closed


@dataclass(frozen=True)
class Graph:
    """What a picture shows; boxes are in topological order."""

    level: str
    boxes: Tuple[Box, ...]
    edges: Tuple[Edge, ...]
    groups: Tuple[Group, ...]
    inputs: Mapping[str, Shape]
    parameters: int
    auxiliary: int
    macs: Optional[int]
