"""A network as a picture's boxes and arrows, at the level of stages, units or operators."""

from __future__ import annotations

from symbols.graph.builder import LEVELS, NESTED, build_graph, check_level
from symbols.graph.model import Box, Edge, Graph, Group
from symbols.graph.subtotals import Subtotal, subtotals

__all__ = [
    'LEVELS',
    'NESTED',
    'Box',
    'Edge',
    'Graph',
    'Group',
    'Subtotal',
    'build_graph',
    'check_level',
    'subtotals',
]
