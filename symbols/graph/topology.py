"""Group a network's operators into units by topology alone, so that names never decide what belongs together.

A cut is an operator that every path passes through. Between two cuts lies either nothing (the operators
form a chain) or a region of parallel paths that the second cut joins: a residual unit, a dense layer, a gate.
Works on plain integers, in topological order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple, Union

BRANCH_LIMIT = 6  # a branch with more weights than this is divided into units of its own


@dataclass(frozen=True)
class Region:
    """Parallel paths between two cuts, and the operator that joins them (None when they never meet)."""

    interior: Tuple[int, ...]
    join: Optional[int]


@dataclass(frozen=True)
class Unit:
    """Operators that are drawn together: its own, and for a block the parallel branches that these join."""

    kind: str  # 'chain', or for a block what `Roles.kind` says of its join
    own: Tuple[int, ...]  # a chain's operators; a block's join and the activation behind it
    branches: Tuple[Tuple[Unit, ...], ...] = ()

    def everything(self) -> Iterable[int]:
        """Yield the operators, branch by branch, the join last; equal units yield them in matching order."""
        for branch in self.branches:
            for unit in branch:
                yield from unit.everything()
        yield from self.own


@dataclass(frozen=True)
class Roles:
    """What the grouping has to know of an operator."""

    weighted: Callable[[int], bool]  # holds a weight of two or more dimensions: the heart of a unit
    depthwise: Callable[[int], bool]  # a weighted operator that belongs to the pointwise one behind it
    closing: Callable[[int], bool]  # ends the convolutional part: a global pool, a flatten
    normalising: Callable[[int], bool]  # batch norm and its like: before a weight they mean pre-activation
    activation: Callable[[int], bool]  # light enough to stay with the join in front of it
    kind: Callable[[int, bool], str]  # a block's kind, from its join and whether a bare skip reaches it


Element = Union[int, Region]


@dataclass(frozen=True)
class Wiring:
    """The operator graph: who feeds whom."""

    before: Mapping[int, Sequence[int]]
    after: Mapping[int, Sequence[int]]


def decompose(
    nodes: Sequence[int],
    wiring: Wiring,
    *,
    sources: Optional[Set[int]] = None,
    sinks: Optional[Set[int]] = None,
) -> List[Element]:
    """Return the chain of cuts and regions that `nodes` (in topological order) form.

    Sources and sinks hang on one common beginning and one common end; by default they are the nodes with a
    neighbour outside `nodes`.
    """
    at = {node: position for position, node in enumerate(nodes)}
    if sources is None:
        sources = {v for v in nodes if any(u not in at for u in wiring.before[v])}
    if sinks is None:
        sinks = {v for v in nodes if any(w not in at for w in wiring.after[v])}
    reach = max((at[v] for v in sources), default=0)
    elements: List[Element] = []
    interior: List[int] = []
    for position, v in enumerate(nodes):
        if reach > position:
            interior.append(v)
        else:
            elements.append(Region(tuple(interior), v) if interior else v)
            interior = []
        ahead = [at[w] for w in wiring.after[v] if w in at]
        reach = max([reach, *ahead, *([len(nodes)] if v in sinks and len(sinks) > 1 else [])])
    if interior:
        elements.append(Region(tuple(interior), None))
    return elements


def components(nodes: Sequence[int], wiring: Wiring) -> List[List[int]]:
    """Return the connected parts of `nodes`, each in topological order, first met first."""
    parent = {v: v for v in nodes}

    def root(v: int) -> int:
        while parent[v] != v:
            parent[v] = parent[parent[v]]
            v = parent[v]
        return v

    for v in nodes:
        for u in wiring.before[v]:
            if u in parent:
                parent[root(u)] = root(v)
    parts: Dict[int, List[int]] = {}
    for v in nodes:
        parts.setdefault(root(v), []).append(v)
    return list(parts.values())


def units(elements: Sequence[Element], wiring: Wiring, roles: Roles) -> List[Unit]:
    """Turn cuts and regions into units: a block for each region that holds weights, chains for the rest."""
    found: List[Unit] = []
    chain: List[int] = []
    for element in elements:
        if isinstance(element, Region) and any(map(roles.weighted, element.interior)):
            found += split_chain(chain, roles)
            chain = []
            found.append(block(element, wiring, roles))
            continue
        light = [element] if isinstance(element, int) else list(element.interior)
        if isinstance(element, Region) and element.join is not None:
            light.append(element.join)
        if not chain and found and found[-1].branches and all(map(roles.activation, light)):
            last = found.pop()
            found.append(Unit(last.kind, last.own + tuple(light), last.branches))
        else:
            chain += light
    return found + split_chain(chain, roles)


def block(region: Region, wiring: Wiring, roles: Roles) -> Unit:
    """Return the unit of a region: one branch per connected part of its interior."""
    parts = components(region.interior, wiring)
    branches = tuple(tuple(branch_units(part, wiring, roles)) for part in parts)
    if region.join is None:
        return Unit('parallel', (), branches)
    return Unit(roles.kind(region.join, _skips(region, wiring)), (region.join,), branches)


def _skips(region: Region, wiring: Wiring) -> bool:
    """Whether the join of a region reads what enters that, too."""
    return region.join is not None and not {*wiring.before[region.join]} <= {*region.interior}


def branch_units(nodes: Sequence[int], wiring: Wiring, roles: Roles) -> List[Unit]:
    """Return one unit for a plain branch; a long one, or one with blocks in it, has units of its own."""
    elements = decompose(nodes, wiring)
    blocks = [
        element
        for element in elements
        if isinstance(element, Region)
        and any(map(roles.weighted, element.interior))
        and (element.join is None or roles.kind(element.join, _skips(element, wiring)) != 'gate')
    ]
    if not blocks and sum(map(roles.weighted, nodes)) <= BRANCH_LIMIT:
        return [Unit('chain', tuple(nodes))]
    if len(elements) > 1:
        return units(elements, wiring, roles)
    return [Unit('chain', tuple(part)) for part in split_at_joins(nodes, wiring)]


def split_at_joins(nodes: Sequence[int], wiring: Wiring) -> List[List[int]]:
    """Divide tangled operators behind each that joins several paths; intervals of the order stay acyclic."""
    parts: List[List[int]] = [[]]
    for v in nodes:
        parts[-1].append(v)
        if len(set(wiring.before[v])) > 1:
            parts.append([])
    return [part for part in parts if part]


def split_chain(chain: Sequence[int], roles: Roles) -> List[Unit]:
    """Divide a chain so that each unit holds one weighted operator (and the depthwise one in front of it).

    In a chain that begins with a normalisation (pre-activation order) batch norm and activation go with the
    weight behind them, otherwise with the one in front.
    """
    heavy = [v for v in chain if roles.weighted(v)]
    if len(heavy) <= 1:
        return [Unit('chain', tuple(chain))] if chain else []
    lead = chain[: chain.index(heavy[0])]
    before_first = any(map(roles.normalising, lead))
    parts: List[List[int]] = [[]]
    for v in chain:
        part = parts[-1]
        weights = [u for u in part if roles.weighted(u)]
        done = bool(weights) and not all(map(roles.depthwise, weights))
        normalised = done and any(map(roles.normalising, part[part.index(weights[-1]) :]))
        begins = roles.weighted(v) or roles.closing(v)
        begins = begins or (roles.normalising(v) and (before_first or normalised))  # a second one leads on
        if (done and begins) or (weights and roles.depthwise(v)):
            parts.append([])
        parts[-1].append(v)
    return [Unit('chain', tuple(part)) for part in parts]


def long_ways(arrows: Sequence[Tuple[str, str]]) -> Set[Tuple[str, str]]:
    """Return the arrows beside which a longer path leads from the same beginning to the same end."""
    before: Dict[str, Set[str]] = {}
    for source, target in arrows:
        before.setdefault(target, set()).add(source)
    above: Dict[str, Set[str]] = {}
    for target in list(before):
        stack = [target]
        while stack:  # no recursion: an unfolded network is deeper than Python's stack
            sources = before.get(stack[-1], set())
            waiting = [source for source in sources if source not in above]
            if waiting:
                stack += waiting
            else:
                above[stack.pop()] = sources.union(*(above[source] for source in sources))
    return {
        (source, target)
        for source, target in arrows
        if any(source in above[other] for other in before[target])
    }
