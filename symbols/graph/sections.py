"""Divide a network into sections (stem, stages, transitions, head) and units, by topology and shape.

Names play no part here: a section ends where the spatial size changes. They only label what was found
(`common_label`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Dict, Iterable, List, Sequence, Set, Tuple

from symbols.graph.operators import ACTIVATIONS, ADDITIONS, JOINTS, NORMALISING, PRODUCTS, Network, Operator
from symbols.graph.topology import Roles, Unit, Wiring, decompose, units
from symbols.ir.nodes import flag

SEPARATORS = '_./:-'
LIGHT = ACTIVATIONS | PRODUCTS | ADDITIONS  # activations, and what Swish is spelled out with


@dataclass(frozen=True)
class Section:
    """What the coarsest picture shows as one box; `role` is stem, stage, transition or head."""

    role: str
    units: Tuple[Unit, ...]

    def everything(self) -> Iterable[int]:
        """Yield the ids of the section's operators."""
        for unit in self.units:
            yield from unit.everything()


@dataclass(frozen=True)
class Layout:
    """A network's sections, and for each operator those that have to be drawn with it."""

    sections: Tuple[Section, ...]
    wiring: Wiring
    companions: Dict[int, List[int]]  # operator id -> what is only drawn in its company, in order


def lay_out(network: Network) -> Layout:
    """Return the sections of a network."""
    operators = network.operators
    wiring = _wire(operators)
    companions = _companions(network, wiring)
    apart = {i for together in companions.values() for i in together}
    main = [op.id for op in operators if op.id not in apart and op.op != 'null']
    roles = Roles(
        weighted=lambda i: operators[i].weighted or any(operators[j].weighted for j in companions.get(i, ())),
        depthwise=lambda i: operators[i].depthwise,
        closing=lambda i: operators[i].flattens or flag(operators[i].attributes, 'global_pool', False),
        normalising=lambda i: operators[i].op in NORMALISING,
        activation=lambda i: operators[i].op in LIGHT,
        kind=lambda join, bare_skip: _kind(operators[join], bare_skip),
    )
    trimmed = Wiring(
        {i: [j for j in wiring.before[i] if j not in apart] for i in wiring.before}, wiring.after
    )
    found = units(decompose(main, trimmed, **_ends(network, main, wiring)), trimmed, roles)
    return Layout(tuple(_sections(found, operators)), trimmed, companions)


def _wire(operators: Sequence[Operator]) -> Wiring:
    before = {op.id: [source for source, _ in op.inputs] for op in operators}
    after: Dict[int, List[int]] = defaultdict(list)
    for i, sources in before.items():
        for source in sources:
            after[source].append(i)
    return Wiring(before, after)


def _kind(join: Operator, bare_skip: bool) -> str:
    if join.op in ADDITIONS:
        return 'residual'
    if join.op in JOINTS:
        return 'dense' if bare_skip else 'parallel'
    return 'gate' if join.op in PRODUCTS and bare_skip else 'parallel'


def _companions(network: Network, wiring: Wiring) -> Dict[int, List[int]]:
    """Return the operators that would only blur the topology, by the one each is drawn with.

    These are operators on parameters or constants alone (drawn with their first reader) and weightless dead
    ends, such as a BlockGrad that exposes a feature (drawn with what they read).
    """
    operators = network.operators
    together: Dict[int, List[int]] = defaultdict(list)
    home: Dict[int, int] = {}
    for op in reversed(operators):
        if op.side and wiring.after[op.id]:
            reader = wiring.after[op.id][0]
            home[op.id] = home.get(reader, reader)
            together[home[op.id]].insert(0, op.id)
    ends = [op for op in operators if not wiring.after[op.id] and op.op != 'null' and not op.side]
    for end in ends[1:]:
        tail: List[int] = []
        step = end
        while step.inputs and len(wiring.after[step.id]) <= 1:
            company = together.get(step.id, [])
            if any(operators[i].weighted for i in (step.id, *company)):
                break
            tail[:0] = [*company, step.id]
            step = operators[step.inputs[0][0]]
        if len(wiring.after[step.id]) > 1 and tail:
            together[step.id] += tail
    return together


def _ends(network: Network, main: Sequence[int], wiring: Wiring) -> Dict[str, Set[int]]:
    """Return where a network with several towers begins and ends; a lone label or scale is not a tower."""
    operators, inside = network.operators, set(main)
    reads: Dict[int, Set[int]] = {}
    feeds_tower: Set[int] = set()
    for op in operators:
        reads[op.id] = {op.id} if op.op == 'null' else set().union(*(reads[i] for i in wiring.before[op.id]))
        if op.weighted and len(reads[op.id]) == 1:
            feeds_tower |= reads[op.id]
    readers = [j for i in feeds_tower for j in wiring.after[i] if j in inside]
    sources = {j for j in readers if operators[j].inputs[0][0] in feeds_tower}  # not of a map's size alone
    sinks = {i for i in main if not any(j in inside for j in wiring.after[i])}
    return {'sources': sources, 'sinks': sinks}


def spatial(operator: Operator) -> Tuple[int, ...]:
    """Return an operator's height and width, () where it has none."""
    shape = operator.shapes[0] if operator.shapes else ()
    if len(shape) < 3:
        return ()
    return tuple(shape[1:-1]) if operator.attributes.get('layout', '')[-1:] == 'C' else tuple(shape[2:])


def _sections(found: Sequence[Unit], operators: Sequence[Operator]) -> List[Section]:
    """Group units: what stands before the first block is the stem, behind the last one the head."""
    sizes = [spatial(operators[unit.own[-1]]) if unit.own else () for unit in found]
    blocks = [i for i, unit in enumerate(found) if unit.branches]
    first = blocks[0] if blocks else 0
    head = blocks[-1] + 1 if blocks else 0
    while head < len(found) and len(sizes[head]) and max(sizes[head]) > 1:
        if blocks and not (_convolves(found[head], operators) and sizes[head] == sizes[head - 1]):
            break  # behind the last block only convolutions that keep the size still belong to the stage
        head += 1
    sections: List[Section] = []
    if first:
        sections.append(Section('stem', tuple(found[:first])))
    current: List[Unit] = []
    for i in range(first, head):
        between = blocks and first < i < blocks[-1] and not found[i].branches
        if between and sizes[i] != sizes[i - 1] and _pools_last(found[i], operators):
            sections += [Section('stage', tuple(current))] if current else []
            sections.append(Section('transition', (found[i],)))
            current = []
            continue
        if current and sizes[i] != sizes[i - 1]:
            sections.append(Section('stage', tuple(current)))
            current = []
        current.append(found[i])
    if current:
        sections.append(Section('stage', tuple(current)))
    if found[head:]:
        sections.append(Section('head', tuple(found[head:])))
    if len(sections) < 2:
        return [Section('stage', (unit,)) for unit in found]
    return sections


def _convolves(unit: Unit, operators: Sequence[Operator]) -> bool:
    return any(operators[i].op.startswith('Conv') and operators[i].weighted for i in unit.own)


def _pools_last(unit: Unit, operators: Sequence[Operator]) -> bool:
    return (
        operators[unit.own[-1]].op.startswith('Pooling') and sum(operators[i].weighted for i in unit.own) <= 1
    )


def common_label(names: Sequence[str]) -> str:
    """Return what a group of names has in common, in whole words: stage1_unit2 for its conv1 and bn1."""
    if not names:
        return ''
    if len(set(names)) == 1:
        return re.sub(r'_fwd$', '', names[0])
    low, high = min(names), max(names)
    prefix = low[: next((i for i, (a, b) in enumerate(zip(low, high)) if a != b), len(low))]
    if any(len(name) > len(prefix) and name[len(prefix)] not in SEPARATORS for name in names):
        cut = max(prefix.rfind(mark) for mark in SEPARATORS)
        prefix = prefix[: cut + 1]
    return prefix.rstrip(SEPARATORS)
