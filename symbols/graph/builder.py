"""A network as a drawable graph at three levels (stages, units, operators); draws nothing.

The grouping follows topology and shapes, so it works for any mx.sym.Symbol; names are labels. Every arrow is
the projection of an operator's own input, so no picture shows a connection that the network does not have.
"""

from __future__ import annotations

import sys
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from config.errors import ConfigError, nearest
from symbols.graph.captions import Captions
from symbols.graph.folding import Folds
from symbols.graph.model import Box, Edge, Graph, Group
from symbols.graph.operators import Network, Operator, describe, read_network
from symbols.graph.sections import Layout, Section, lay_out
from symbols.graph.topology import Unit, long_ways
from symbols.ir.nodes import Shape

import mxnet as mx

LEVELS = ('stages', 'units', 'operators')
NESTED = 'nested'


def build_graph(
    symbol: mx.sym.Symbol,
    shapes: Mapping[str, Sequence[int]],
    level: str = 'units',
    *,
    fold: bool = True,
    depth: Optional[int] = None,
) -> Graph:
    """Return the graph of a symbol whose inputs and their full shapes `shapes` names.

    `level` is 'stages', 'units' or 'operators', or 'nested' for all three, one inside the other: there every
    section, block and chain is a group, and the boxes are operators. With `fold`, equal units in a row are drawn
    once. What is nested deeper than `depth` is one box: 0 leaves the stages, 1 makes each residual unit or dense
    layer one box, None opens everything. A parameter that operators share counts once.

    Raises ConfigError for an unknown level or input, a negative depth, or unfit shapes.
    """
    if level != NESTED:
        check_level(level, depth)
    network = read_network(symbol, shapes)
    return _Builder(network, lay_out(network), 'stages' if depth == 0 else level, fold, depth).build()


def check_level(level: str, depth: Optional[int] = None) -> None:
    """Raise ConfigError for an unknown level or a negative depth."""
    if level not in LEVELS:
        raise ConfigError(f'level={level!r} is none of {", ".join(LEVELS)}{nearest(level, LEVELS)}')
    if depth is not None and depth < 0:
        raise ConfigError(f'depth={depth} must be 0 or more; 0 draws the stages alone')


def total_macs(operators: Sequence[Operator]) -> Optional[int]:
    """Return the sum of the operators' multiply-accumulates, None when one of them is unknown."""
    costs = [op.macs for op in operators if op.macs is not None]
    return sum(costs) if len(costs) == len(operators) else None


class _Builder:
    def __init__(self, network: Network, layout: Layout, level: str, fold: bool, depth: Optional[int]):
        self.network = network
        self.layout = layout
        self.level = level
        self.fold = fold
        self.depth = sys.maxsize if depth is None else depth
        self.captions = Captions(network.operators, layout)
        self.folds = Folds(network.operators, layout.companions)
        self.boxes: List[Box] = []
        self.groups: List[Group] = []
        self.box_of: Dict[int, str] = {}

    def build(self) -> Graph:
        operators = self.network.operators
        for op in operators:
            if op.op == 'null':
                self.box('input', op.name, (), [op.id], None)
        number = 0
        for section in self.layout.sections:
            number += section.role == 'stage'
            self.section(section, self.captions.section(section, number))
        edges = self.edges()
        for i, (source, output) in enumerate(self.network.outputs):
            name = operators[source].name
            self.boxes.append(Box(f'o{i}', 'output', f'{name} (output)'))
            edges.append(Edge(self.box_of[source], f'o{i}', operators[source].shapes[output]))
        return Graph(
            level=self.level,
            boxes=tuple(self.boxes),
            edges=tuple(edges),
            groups=tuple(self.groups),
            inputs=self.network.inputs,
            parameters=self.network.total.parameters,
            auxiliary=self.network.total.auxiliary,
            macs=total_macs(operators),
        )

    def section(self, section: Section, title: str) -> None:
        """Add one section: a box at stage level, otherwise a frame with its units."""
        if self.level == 'stages':
            self.box('stage', title, self.captions.contents(section), list(section.everything()), None)
            return
        inside = self.level in ('operators', NESTED)
        framed = section.role == 'stage' or len(section.units) > 1 or inside
        if not framed and not section.units[0].branches:
            self.leaf('unit', self.captions.alone(section, title), section.units[0].own, None, 1)
            return
        group = None
        if framed:
            group = self.group('stage', title, None, lines=self.captions.contents(section))
        if self.level == NESTED and len(section.units) == 1 and not section.units[0].branches:
            self.operators(section.units[0].own, group)  # a frame within the frame would say the same again
            return
        self.units(section.units, group, title, 1)

    def units(self, units: Sequence[Unit], group: Optional[str], section: str, nest: int) -> None:
        """Add a sequence of units, equal neighbours folded into the first of them; `nest` frames are around it."""
        for run in self.folds.runs(units) if self.fold else [[unit] for unit in units]:
            unit, inner = run[0], group
            closed = nest >= self.depth
            branched = sum(len(branch) for branch in unit.branches) > 1
            simple = closed or self.level == NESTED or (self.level == 'units' and not branched)
            title, extent = self.captions.run(run) if len(run) > 1 else ('', '')
            if title:
                self.folds.fold(run)
                if self.level != NESTED and not closed:
                    # a frame with one box in it says what it is in the box, where no arrow crosses the words
                    label = '' if simple else ': '.join(filter(None, (title, extent)))
                    inner = self.group('repeat', label, group, len(run))
            self.unit(unit, inner, section, (title, extent) if simple else ('', ''), nest)

    def unit(
        self, unit: Unit, group: Optional[str], section: str, folded: Tuple[str, str], nest: int
    ) -> None:
        """Add one unit; `folded` is the title and extent of the run that it stands for, or empty."""
        title, extent = folded
        first = [extent] if extent else []
        whole = title or self.captions.unit(unit, section)
        if unit.branches and nest >= self.depth:
            lines = [*first, *self.captions.block(unit)]
            self.box('unit', whole, lines, list(unit.everything()), group)
            return
        if unit.branches and self.level == NESTED:
            lines = [*first, *self.captions.block(unit)]
            group = self.group('block', whole, group, self.repeat(next(iter(unit.everything()))), lines)
            title, first = '', []
        for index, branch in enumerate(unit.branches):
            if len(branch) == 1 and not branch[0].branches:
                name = title or self.captions.branch(unit, index, section)
                self.leaf('unit', name, branch[0].own, group, nest + 1, first)
            else:
                self.units(branch, group, section, nest + 1)
        if unit.branches:
            self.leaf('join', self.captions.line(unit.own), unit.own, group, nest + 1)
        else:
            self.leaf('unit', whole, unit.own, group, nest, first)

    def leaf(
        self,
        kind: str,
        title: str,
        own: Sequence[int],
        group: Optional[str],
        nest: int,
        first: Sequence[str] = (),
    ) -> None:
        """Add one box, or one for each operator at operator level."""
        if not own:
            return
        if self.level == 'units' or nest >= self.depth:
            self.box(kind, title, () if kind == 'join' else [*first, *self.captions.lines(own)], own, group)
            return
        if self.level == NESTED and kind != 'join' and len(self.captions.steps(own)) > 1:
            group = self.group(
                'chain', title, group, self.repeat(own[0]), [*first, *self.captions.lines(own)]
            )
        self.operators(own, group, join=kind == 'join')

    def operators(self, own: Sequence[int], group: Optional[str], *, join: bool = False) -> None:
        """Add one box for each operator of a chain, and one for those that spell out an activation."""
        for step in self.captions.steps(own):
            if step.activation:
                name = self.network.operators[step.ids[-1]].name
                self.box('operator', step.activation, (name,), step.ids, group)
                continue
            for i in step.ids:
                for j in self.layout.companions.get(i, ()):
                    self.operator(j, group)
                self.operator(i, group, join=join and i == own[0])

    def operator(self, i: int, group: Optional[str], join: bool = False) -> None:
        """Add the box of one operator; a join that holds nothing needs no name."""
        op = self.network.operators[i]
        bare = join and not op.holds
        self.box(
            'join' if bare else 'operator', describe(op), () if bare else (op.name,), [i], group, alone=True
        )

    def repeat(self, i: int) -> int:
        """Return how many operators the one that is drawn stands for."""
        return 1 + len(self.folds.behind(i))

    def group(
        self, kind: str, title: str, parent: Optional[str], repeat: int = 1, lines: Sequence[str] = ()
    ) -> str:
        self.groups.append(Group(f'g{len(self.groups)}', kind, title, parent, repeat, tuple(lines)))
        return self.groups[-1].id

    def box(
        self,
        kind: str,
        title: str,
        lines: Sequence[str],
        own: Sequence[int],
        group: Optional[str],
        *,
        alone: bool = False,
    ) -> None:
        """Add a box for operators and, unless `alone`, for those that are drawn in their company."""
        companions = {} if alone else self.layout.companions
        drawn = [j for i in own for j in (*companions.get(i, ()), i)]
        ids = [k for j in drawn for k in (j, *self.folds.behind(j))]
        members = [self.network.operators[i] for i in ids]
        here = dict.fromkeys(name for op in members for name in op.counted)
        box = Box(
            id=f'b{len(self.boxes)}',
            kind=kind,
            title=title,
            lines=tuple(lines),
            group=group,
            operators=tuple(op.name for op in members),
            repeat=self.repeat(own[0]),
            parameters=sum(op.parameters for op in members),
            auxiliary=sum(op.auxiliary for op in members),
            macs=total_macs(members),
            counted=tuple(here),
            shared=tuple(dict.fromkeys(name for op in members for name in op.shared if name not in here)),
        )
        self.boxes.append(box)
        self.box_of.update((i, box.id) for i in ids)

    def edges(self) -> List[Edge]:
        """Return the arrows between boxes: each operator input, projected, folded and without doubles."""
        operators = self.network.operators
        shapes: Dict[Tuple[str, str], List[Shape]] = {}
        for op in operators:
            for source, output in op.inputs:
                ends = self.box_of[source], self.box_of[op.id]
                if ends[0] != ends[1] and not self.folds.apart(source, op.id):
                    shapes.setdefault(ends, []).append(operators[source].shapes[output])
        skips = long_ways(list(shapes))
        return [
            Edge(*ends, found[0] if len(set(found)) == 1 else (), ends in skips)
            for ends, found in shapes.items()
        ]
