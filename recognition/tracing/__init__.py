"""The values of every layer of a network, and the first layer in which two forms of it differ."""

from __future__ import annotations

from recognition.tracing.difference import Comparison, Difference, explain, first_difference
from recognition.tracing.points import Point, Trace

__all__ = ['Comparison', 'Difference', 'Point', 'Trace', 'explain', 'first_difference']
