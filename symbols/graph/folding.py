"""Fold equal units in a row into the first of them, and remember what it stands for."""

from __future__ import annotations

from collections import defaultdict
from typing import Dict, List, Mapping, Sequence, Tuple

from symbols.graph.operators import Operator
from symbols.graph.sections import spatial
from symbols.graph.topology import Unit

UNTOLD = frozenset(['workspace', 'cudnn_tune', 'cudnn_off'])  # attributes that change nothing in the result


class Folds:
    """Which operator is drawn for which others."""

    def __init__(self, operators: Sequence[Operator], companions: Mapping[int, Sequence[int]]):
        self.operators = operators
        self.companions = companions
        self._first: Dict[int, int] = {}  # folded operator -> the one in the run's first unit
        self._behind: Dict[int, List[int]] = defaultdict(list)
        self._places: Dict[int, Dict[int, int]] = defaultdict(dict)  # operator -> {run: which unit of it}
        self._runs = 0

    def runs(self, units: Sequence[Unit]) -> List[List[Unit]]:
        """Return the units as runs of equal neighbours."""
        found: List[List[Unit]] = []
        last = None
        for unit in units:
            signature = self.signature(unit)
            if found and signature == last:
                found[-1].append(unit)
            else:
                found.append([unit])
            last = signature
        return found

    def signature(self, unit: Unit) -> Tuple[object, ...]:
        """Return what equal units share: operators, attributes, output size and number of parameters.

        Dense layers may differ in the last: each reads more channels than the one before it.
        """
        ids = list(unit.everything())
        members = [self.operators[i] for i in ids]
        shape = tuple(len(branch) for branch in unit.branches)
        told = [
            (op.op, sorted((k, v) for k, v in op.attributes.items() if k not in UNTOLD)) for op in members
        ]
        size = [] if unit.kind == 'dense' else [op.parameters for op in members]
        extra = [[self.operators[j].op for j in self.companions.get(i, ())] for i in ids]
        return (unit.kind, shape, str(told), spatial(members[-1]), tuple(size), str(extra))

    def fold(self, run: Sequence[Unit]) -> None:
        """Let the first unit of a run stand for all of it."""
        self._runs += 1
        first = self._with_companions(run[0])
        for place, unit in enumerate(run):
            for drawn, other in zip(first, self._with_companions(unit)):
                self._places[other][self._runs] = place
                if place:
                    self._first[other] = drawn
                    self._behind[drawn].append(other)

    def _with_companions(self, unit: Unit) -> List[int]:
        return [j for i in unit.everything() for j in (*self.companions.get(i, ()), i)]

    def behind(self, drawn: int) -> List[int]:
        """Return every operator folded into this one, through nested runs."""
        return [k for j in self._behind.get(drawn, ()) for k in (j, *self.behind(j))]

    def apart(self, one: int, other: int) -> bool:
        """Whether two operators lie in different units of one run: no arrow is drawn between them."""
        here, there = self._path(one), self._path(other)
        return any(there.get(run, place) != place for run, place in here.items())

    def _path(self, operator: int) -> Dict[int, int]:
        first = self._first.get(operator)
        return {**(self._path(first) if first is not None else {}), **self._places.get(operator, {})}
