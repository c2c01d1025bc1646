"""A network's symbol cut into segments that run one after the other, a single tensor passed between two of them.

Training that recomputes keeps those tensors alone, and makes what is inside a segment a second time when its gradient
is wanted (Chen et al. 2016, 'Training Deep Nets with Sublinear Memory Cost', section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Container, Dict, List, Mapping, Sequence, Set, Tuple

from symbols.ir.nodes import Node, list_nodes
from symbols.ir.rewriter import Described, Draft, Entry, describe

import mxnet as mx

INPUT = 'segment_input'
RANDOM = ('Dropout',)
TRIED = 40  # limits on a segment's size that are tried
STEP = 0.85  # from one limit to the next
LAST = 1 / 8  # of all values may be in the last segment, which needs no second run
AT_WORK = (
    2  # times the values of a segment that there are while it is taken backward: they, and their gradients
)


@dataclass(frozen=True)
class Segment:
    """A part of a network: `input` is the name under which its symbol reads the tensor of the segment before.

    random: whether it draws random numbers, so that running it again needs their seed again. largest: values of the
    largest tensor that is made in it.
    """

    symbol: mx.sym.Symbol
    input: str
    random: bool
    largest: int


@dataclass(frozen=True)
class _Cut:
    """A place behind node `index`, where the one tensor that passes is the entry `entry`."""

    index: int
    entry: Entry
    size: int  # values of that tensor
    before: int  # values of all tensors made up to there


def cut(
    symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]], *, constants: Container[str] = ()
) -> List[Segment]:
    """Cut a symbol of one input and one output where that makes the least memory: kept tensors, and one segment's.

    `shapes` gives the input's full shape. A symbol that is nowhere passed by one tensor alone is one segment, and so is
    whatever lies between two readers of a parameter that is none of the `constants`. ConfigError as `list_nodes`.
    """
    (data,) = shapes
    nodes = list_nodes(symbol, shapes)
    graph = describe(symbol)
    skipped = {i for i, node in enumerate(nodes) if node.is_variable and node.name in constants}
    cuts = _best(_cuts(nodes, graph, data, skipped), _made(nodes, len(nodes)))
    segments, start, name = [], 0, data
    source = next(i for i, node in enumerate(nodes) if node.is_variable and node.name == data)
    passed = (source, 0)
    for end, entry in [*((each.index, each.entry) for each in cuts), (len(nodes) - 1, None)]:
        heads = graph['heads'] if entry is None else [[*entry, 0]]
        span = range(start, end + 1)
        made = (nodes[number] for number in span if not nodes[number].is_variable)
        largest = max(prod(shape) for node in made for shape in node.output_shapes)
        segments.append(_segment(graph, span, passed, name, heads, largest))
        if entry is not None:
            start, passed, name = end + 1, entry, INPUT
    return segments


def _cuts(nodes: Sequence[Node], graph: Described, data: str, skipped: Set[int]) -> List[_Cut]:
    """Return every place that one tensor passes alone; no parameter but those `skipped` is read on both sides of it."""
    last: Dict[Entry, int] = {}  # an entry -> the last node that reads it
    for index, node in enumerate(nodes):
        last.update(dict.fromkeys(node.inputs, index))
    for source, output, *_ in graph['heads']:
        last[(source, output)] = len(nodes)
    open_entries: Set[Entry] = set()
    made, cuts = 0, []
    for index, node in enumerate(nodes):
        if node.is_variable and node.name != data:
            continue
        open_entries |= {(index, output) for output in range(len(node.output_shapes))}
        open_entries |= {entry for entry in node.inputs if nodes[entry[0]].is_variable}
        open_entries = {
            each for each in open_entries if last.get(each, -1) > index and each[0] not in skipped
        }
        made += 0 if node.is_variable else sum(map(prod, node.output_shapes))
        if len(open_entries) == 1 and not node.is_variable:
            (entry,) = open_entries
            if not nodes[entry[0]].is_variable:
                cuts.append(_Cut(index, entry, prod(nodes[entry[0]].output_shapes[entry[1]]), made))
    return cuts


def _made(nodes: Sequence[Node], end: int) -> int:
    return sum(prod(shape) for node in nodes[:end] if not node.is_variable for shape in node.output_shapes)


def _best(cuts: Sequence[_Cut], total: int) -> List[_Cut]:
    """Return the cuts for which the tensors that are kept and the largest segment are least together."""
    best: Tuple[int, List[_Cut]] = (AT_WORK * total, [])
    limit = float(total)
    for _ in range(TRIED):
        chosen = _within(cuts, total, limit)
        starts = [0, *(each.before for each in chosen)]
        ends = [*starts[1:], total]
        need = sum(each.size for each in chosen) + AT_WORK * max(b - a for a, b in zip(starts, ends))
        if need < best[0]:
            best = (need, chosen)
        limit *= STEP
    return _with_long_end(best[1], total)


def _with_long_end(cuts: Sequence[_Cut], total: int) -> List[_Cut]:
    """Return the cuts without those that LAST lets the last segment reach over."""
    starts = [0, *(each.before for each in cuts)]
    return [each for each, start in zip(cuts, starts) if total - start > LAST * total]


def _within(cuts: Sequence[_Cut], total: int, limit: float) -> List[_Cut]:
    """Return the cuts behind segments as long as `limit` allows, or as short as can be where it allows none."""
    chosen: List[_Cut] = []
    start = 0
    for this, following in zip(cuts, [*(each.before for each in cuts[1:]), total]):
        if following - start > limit:
            chosen.append(this)
            start = this.before
    return chosen


def _segment(
    graph: Described, span: range, passed: Entry, name: str, heads: Sequence[Sequence[int]], largest: int
) -> Segment:
    """Return the nodes of `span`, with the variables that they read, as a symbol of their own."""
    described, draft = graph['nodes'], Draft(graph)
    copies: Dict[int, int] = {}

    def moved(entry: Sequence[int]) -> Entry:
        number, output, *_ = entry
        if (number, output) == passed:
            return draft.variable(name, {})
        if number not in copies:  # a variable, since operators come in their order
            copies[number] = draft.copy(described[number], [])
        return copies[number], output

    inside = [number for number in span if described[number]['op'] != 'null']
    for number in inside:
        node = described[number]
        copies[number] = draft.copy(node, [moved(entry) for entry in node['inputs']])
    random = any(described[number]['op'] in RANDOM for number in inside)
    return Segment(draft.symbol([moved(head) for head in heads]), name, random, largest)
