"""A symbol as nodes with shapes, and rules that rewrite it."""

from __future__ import annotations

from symbols.ir.nodes import Node, list_nodes, load_symbol
from symbols.ir.rewriter import describe, rewrite
from symbols.ir.shapes import infer_shapes

__all__ = ['Node', 'describe', 'infer_shapes', 'list_nodes', 'load_symbol', 'rewrite']
