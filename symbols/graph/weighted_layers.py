"""The number in a network's name: its convolutions and dense layers from the input to the output, and as a sum.

DenseNet-121 has 121 = 1 + 2*(6+12+24+16) + 3 + 1: the stem, two for each dense layer, the transitions, the classifier
(Huang et al. 2017, 'Densely Connected Convolutional Networks', table 1). Where ways part, the longest counts, so that a
projection in a shortcut does not (He et al. 2016, 'Deep Residual Learning', table 1), nor does a gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import List, Sequence, Tuple

from symbols.graph.layers import MULTIPLY, LayerTable
from symbols.graph.sections import lay_out


@dataclass(frozen=True)
class WeightedLayers:
    """The number of weighted layers, as a sum over stem, blocks by stage, transitions and head."""

    count: int
    terms: str


@dataclass
class _Run:
    """Blocks in a row of `each` weighted layers: how many, stage by stage."""

    each: int
    blocks: List[int]

    def __str__(self) -> str:
        blocks = '+'.join(map(str, self.blocks))
        if self.blocks == [1]:
            return str(self.each)
        blocks = f'({blocks})' if len(self.blocks) > 1 else blocks
        return blocks if self.each == 1 else f'{self.each}*{blocks}'


def weighted_layers(table: LayerTable) -> WeightedLayers:
    """Return the weighted layers on the longest way through a network, a separable convolution as one."""
    depths = _depths(table)
    before = 0
    runs: List[_Run] = []
    ends = {'stem': 0, 'transition': 0, 'head': 0}
    for section in lay_out(table.network).sections:
        steps = []
        for unit in section.units:
            depth = max(before, depths[table.place[list(unit.everything())[-1]]])
            steps.append(depth - before)
            before = depth
        if section.role in ends:
            ends[section.role] += sum(steps)
        else:
            _extend(runs, [(each, len(list(same))) for each, same in groupby(steps) if each])
    parts = [ends['stem'], *runs, ends['transition'], ends['head']]
    return WeightedLayers(before, ' + '.join(str(part) for part in parts if part) or '0')


def _depths(table: LayerTable) -> Sequence[int]:
    """Return for each layer how many weighted ones the way to it has, itself among them."""
    depths: List[int] = []
    for layer in table.layers:
        ways = [depths[i] for i, _ in layer.inputs]
        # what is scaled comes by the shorter way, its gate by the longer; a factor from outside has no layers
        longest = min(filter(None, ways), default=0) if layer.type == MULTIPLY else max(ways, default=0)
        depths.append(longest + layer.is_weighted)
    return depths


def _extend(runs: List[_Run], stage: Sequence[Tuple[int, int]]) -> None:
    """Add a stage's blocks, (weighted layers of each, how many); the first go on with the last stage's."""
    for place, (each, count) in enumerate(stage):
        if place == 0 and runs and runs[-1].each == each:
            runs[-1].blocks.append(count)
        else:
            runs.append(_Run(each, [count]))
