"""The sums of an audit over the stages of a network and the blocks in them, as the pictures divide it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Iterable, Iterator, List, Mapping, Sequence, Tuple

from symbols.audit.core import AUXILIARY, FIXED, TRAINABLE, VARIABLE, Audit, Layer
from symbols.graph.captions import Captions
from symbols.graph.operators import Network, read_network
from symbols.graph.sections import lay_out

import mxnet as mx

STAGE, BLOCK = 'stage', 'block'


@dataclass(frozen=True)
class Subtotal:
    """The sums over the layers of a stage, or of a block in the stage before it; flops leave out what has no rule."""

    level: str  # 'stage' or 'block'
    name: str
    layers: Tuple[Layer, ...]

    @property
    def trainable(self) -> int:
        """Values in trainable parameters."""
        return self._size(TRAINABLE)

    @property
    def fixed(self) -> int:
        """Values in fixed parameters."""
        return self._size(FIXED)

    @property
    def auxiliary(self) -> int:
        """Values in auxiliary states."""
        return self._size(AUXILIARY)

    @property
    def flops(self) -> int:
        """Multiply-accumulates."""
        return sum(layer.flops or 0 for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Bytes of the outputs of all layers."""
        return sum(layer.bytes for layer in self.layers)

    def _size(self, kind: str) -> int:
        return sum(layer.size(kind) for layer in self.layers)


def subtotals(
    symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]], audited: Audit
) -> Tuple[Subtotal, ...]:
    """Return the stages of an audited symbol in their order, each before its blocks.

    Every layer is in one stage, so that the stages add up to the total; blocks are those of a stage that has several.
    """
    network, layer_of = read_audited(symbol, shapes, audited)
    layout = lay_out(network)
    captions = Captions(network.operators, layout)
    found: List[Subtotal] = []
    number = 0
    for section in layout.sections:
        number += section.role == STAGE
        title = captions.section(section, number)
        found.append(Subtotal(STAGE, title, _layers(section.everything(), layout.companions, layer_of)))
        if section.role == STAGE and len(section.units) > 1:
            names = _numbered([captions.unit(unit, title) for unit in section.units])
            found += [
                Subtotal(BLOCK, name, _layers(unit.everything(), layout.companions, layer_of))
                for name, unit in zip(names, section.units)
            ]
    rest = [layer for layer in audited.layers if layer.operator == VARIABLE]
    return tuple([*found, Subtotal(STAGE, 'outputs', tuple(rest))] if rest else found)


def read_audited(
    symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]], audited: Audit
) -> Tuple[Network, Mapping[int, Layer]]:
    """Return the operators of an audited symbol, and the audit's row for each operator's id."""
    network = read_network(symbol, shapes)
    counted = iter([layer for layer in audited.layers if layer.operator != VARIABLE])
    return network, {op.id: next(counted) for op in network.operators if op.op != VARIABLE}


def _numbered(names: Sequence[str]) -> List[str]:
    """Return the names, with a number behind those that come more than once."""
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f'{name} {seen[name]}' if names.count(name) > 1 else name)
    return numbered


def _layers(
    own: Iterable[int], companions: Mapping[int, Sequence[int]], layer_of: Mapping[int, Layer]
) -> Tuple[Layer, ...]:
    return tuple(layer_of[i] for i in sorted(set(_with_companions(own, companions))))


def _with_companions(own: Iterable[int], companions: Mapping[int, Sequence[int]]) -> Iterator[int]:
    for i in own:
        yield i
        yield from companions.get(i, ())
