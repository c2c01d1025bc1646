"""A network as a picture's boxes and arrows, at the level of stages, units or operators."""

from __future__ import annotations

from symbols.graph.builder import LEVELS, NESTED, build_graph, check_level
from symbols.graph.layers import LayerTable, NetLayer, layer_table
from symbols.graph.model import Box, Edge, Graph, Group
from symbols.graph.subtotals import Subtotal, subtotals
from symbols.graph.weighted_layers import WeightedLayers, weighted_layers

__all__ = [
    'LEVELS',
    'NESTED',
    'Box',
    'Edge',
    'Graph',
    'Group',
    'LayerTable',
    'NetLayer',
    'Subtotal',
    'WeightedLayers',
    'build_graph',
    'check_level',
    'layer_table',
    'subtotals',
    'weighted_layers',
]
