"""Frames within frames: children, arrows across borders, sums."""

from __future__ import annotations

from collections import Counter

import pytest

from symbols.graph.builder import build_graph
from symbols.graph.nesting import BORDER, Arrow, frames, sums
from tests.helpers.hand_written import HAND_WRITTEN, IMAGE, cycles, residual


def test_an_arrow_is_told_in_pieces_from_border_to_border():
    graph = build_graph(residual(2), IMAGE, 'nested')
    stem, stage, block, chain, _ = (group.id for group in graph.groups)
    inside = frames(graph)
    last = next(box.id for box in graph.boxes if box.title == 'ReLU')  # the stem's
    add = next(box.id for box in graph.boxes if box.title == 'add')
    shape = (1, 4, 16, 16)
    assert Arrow(stem, stage, last, shape) in inside[None].arrows
    assert Arrow(last, BORDER, last, shape) in inside[stem].arrows
    assert inside[stage].children == (block,)
    assert inside[stage].arrows == (Arrow(BORDER, block, last, shape), Arrow(block, BORDER, add, shape))
    relu = inside[chain].children[-1]
    assert inside[block].children == (chain, add)
    assert set(inside[block].arrows) == {
        Arrow(BORDER, chain, last, shape),
        Arrow(BORDER, add, last, shape, skip=True),
        Arrow(chain, add, relu, shape),
        Arrow(add, BORDER, add, shape),
    }


@pytest.mark.parametrize('level', ['stages', 'units', 'operators', 'nested'])
@pytest.mark.parametrize('name', HAND_WRITTEN)
def test_every_frame_is_whole(name, level):
    build, shapes = HAND_WRITTEN[name]
    graph = build_graph(build(), shapes, level)
    inside = frames(graph)
    children = Counter(child for frame in inside.values() for child in frame.children)
    assert children == Counter([box.id for box in graph.boxes] + [group.id for group in graph.groups])
    boxes = {box.id for box in graph.boxes}
    for frame, held in inside.items():
        place = {child: i for i, child in enumerate(held.children)}
        ends = {(arrow.source, arrow.target) for arrow in held.arrows}
        assert all(end in place or end == BORDER for pair in ends for end in pair)
        assert frame is not None or not any(BORDER in pair for pair in ends)
        assert all(arrow.tensor in boxes for arrow in held.arrows)
        assert not cycles({pair for pair in ends if BORDER not in pair})
    drawn = {(edge.source, edge.target) for edge in graph.edges}
    assert {way for box in boxes for way in ways(inside, graph, box)} == drawn


def ways(inside, graph, start):
    """Follow a box's tensor along the pieces of its arrows, through borders, to the boxes that it ends at."""
    frame_of = {child: frame for frame, held in inside.items() for child in held.children}
    waiting, seen = [start], set()
    while waiting:
        at = waiting.pop()
        frame = frame_of[at]
        for arrow in inside[frame].arrows:
            if arrow.tensor == start and arrow.source == at:
                if arrow.target == BORDER:
                    waiting.append(frame)
                else:
                    seen |= set(enter(inside, arrow.target, start))
    return {(start, end) for end in seen}


def enter(inside, child, tensor):
    if child not in inside:
        yield child
        return
    for arrow in inside[child].arrows:
        if arrow.tensor == tensor and arrow.source == BORDER:
            yield from enter(inside, arrow.target, tensor)


@pytest.mark.parametrize('name', HAND_WRITTEN)
def test_sums_are_over_everything_inside(name):
    build, shapes = HAND_WRITTEN[name]
    graph = build_graph(build(), shapes, 'nested')
    held = sums(graph)
    outer = [held[group.id] for group in graph.groups if group.parent is None]
    alone = [box for box in graph.boxes if box.group is None]
    assert sum(part.parameters for part in (*outer, *alone)) == graph.parameters
    assert sum(part.auxiliary for part in (*outer, *alone)) == graph.auxiliary
    assert sum(part.macs for part in (*outer, *alone)) == graph.macs


def test_what_a_frame_shares_with_itself_it_does_not_share():
    build, shapes = HAND_WRITTEN['siamese']
    graph = build_graph(build(), shapes, 'nested')
    held = sums(graph)
    shared = {group.title: held[group.id].shared for group in graph.groups}
    assert shared['parallel block, branch 2'] == ('shared w',)
    assert [title for title, names in shared.items() if names] == ['parallel block, branch 2']
