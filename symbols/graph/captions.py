"""The words in a picture: what a unit, a run of units or a section is called, and what it does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import List, Sequence, Set, Tuple

from symbols.graph.operators import (
    ACTIVATIONS,
    NORMALISING,
    PRODUCTS,
    Operator,
    composite,
    describe,
    excites,
)
from symbols.graph.sections import SEPARATORS, Layout, Section, common_label, spatial
from symbols.graph.topology import Region, Unit, components, decompose
from symbols.ir.nodes import Shape

KINDS = {
    'residual': 'residual unit',
    'dense': 'dense layer',
    'gate': 'gated unit',
    'parallel': 'parallel block',
}
NO_SHORTCUT = PRODUCTS | {'FullyConnected'}
NAMED = 3  # a unit without a common name is called by up to so many operators
LINES = 6  # a closed block with more of them only counts what it holds
BREAK = '\n'  # in front of a word that begins a row, to which no arrow leads
WIDE = 56  # characters after which a line of operators is broken


@dataclass(frozen=True)
class Step:
    """Operators in a chain that are told together; `activation` is what they spell out, '' for anything else."""

    ids: Tuple[int, ...]
    activation: str = ''


class Captions:
    """Titles and lines for the parts of one network."""

    def __init__(self, operators: Sequence[Operator], layout: Layout):
        self.operators = operators
        self.layout = layout
        self.nothing: Set[str] = {''}  # names that tell nothing, since several sections have them
        labels = [self.name(list(section.everything())) for section in layout.sections]
        self.nothing |= {
            a for i, a in enumerate(labels) for j, b in enumerate(labels) if i != j and is_part(a, b)
        }

    def name(self, own: Sequence[int]) -> str:
        """Return what the names of these operators have in common, '' when that tells nothing."""
        members = [self.operators[i] for i in own]
        label = common_label([op.name for op in members if op.holds] or [op.name for op in members])
        if label in self.nothing:
            return ''
        return self.strip(label)

    def strip(self, label: str) -> str:
        """Return a name without the first words that it shares with other sections."""
        shared = max((part for part in self.nothing if part and is_part(part, label)), key=len, default='')
        rest = label[len(shared) :].lstrip(SEPARATORS)
        return rest if rest[:1].isalpha() else label

    def section(self, section: Section, number: int) -> str:
        """Return a section's title: 'stage2', or its role where names do not tell."""
        name = self.name(list(section.everything()))
        if section.role == 'stage':
            return name or f'stage {number}'
        return section.role

    def unit(self, unit: Unit, section: str) -> str:
        """Return a unit's title: its common name, else its kind, else its operators' names."""
        name = self.name(list(unit.everything()))
        if name and name != section:
            return name
        if unit.kind in KINDS:
            return self.kind(unit)
        heavy = self.heavy(unit.own)
        return self.strip(common_label([heavy[0].name])) if heavy else section

    def kind(self, unit: Unit) -> str:
        """Return what a block is called; a sum without a shortcut joins parallel branches, as two streams."""
        if unit.kind == 'residual' and not any(map(self.may_be_shortcut, unit.branches)):
            return KINDS['parallel']
        return KINDS.get(unit.kind, 'unit')

    def may_be_shortcut(self, branch: Sequence[Unit]) -> bool:
        """Whether a branch has no gate and no dense layer."""
        return not any(self.operators[i].op in NO_SHORTCUT for part in branch for i in part.everything())

    def alone(self, section: Section, title: str) -> str:
        """Return the title of a section's only unit: its role and, when they are few, its layers' names."""
        own = list(section.everything())
        layers = [op for op in map(self.operators.__getitem__, own) if op.holds and op.op not in ACTIVATIONS]
        names = [self.strip(common_label([op.name])) for op in layers]
        listing = ', '.join(names)
        return f'{title}: {listing}' if listing and len(listing) <= WIDE // 2 else title

    def branch(self, unit: Unit, index: int, section: str) -> str:
        """Return the title of one branch of a block; in a residual unit the lighter one is the shortcut."""
        title = self.unit(unit, section)
        weights = [
            sum(self.operators[i].weighted for part in branch for i in part.everything())
            for branch in unit.branches
        ]
        lightest = unit.branches[weights.index(min(weights))]
        unequal = unit.kind == 'residual' and len(weights) == 2 and weights[0] != weights[1]
        if unequal and self.may_be_shortcut(lightest):
            return f'{title} shortcut' if weights[index] < max(weights) else title
        names = [self.name([i for part in branch for i in part.everything()]) for branch in unit.branches]
        if len(names) == len(set(names)) > 1:
            return names[index] or title
        return f'{title}, branch {index + 1}' if len(names) > 1 else title

    def run(self, run: Sequence[Unit]) -> Tuple[str, str]:
        """Return the title and extent of a folded run: 'residual unit × 13', 'stage3_unit2 … unit14'."""
        title = f'{self.kind(run[0])} × {len(run)}'
        if run[0].kind == 'dense':
            return title, self.channels(run)
        first, last = (self.name(list(unit.everything())) for unit in (run[0], run[-1]))
        return title, f'{first} … {last}' if first and last and first != last else ''

    def channels(self, units: Sequence[Unit]) -> str:
        """Return '64 → 256 channels' for a sequence of units, '' where that cannot be told."""
        before, after = self.entry(units[0]), self.exit(units[-1])
        if len(before) != len(after) or len(after) not in (2, 4):
            return ''
        axis = -1 if self.channels_last(units[-1]) else 1
        if before[axis] == after[axis]:
            return f'{after[axis]} channels'
        return f'{before[axis]} → {after[axis]} channels'

    def channels_last(self, unit: Unit) -> bool:
        """Whether an operator of the unit says that its layout ends in C."""
        return any(self.operators[i].attributes.get('layout', '')[-1:] == 'C' for i in unit.everything())

    def entry(self, unit: Unit) -> Shape:
        """Return the shape of the first tensor that enters a unit."""
        inside = set(unit.everything())
        for i in unit.everything():
            for source, output in self.operators[i].inputs:
                if source not in inside:
                    return self.operators[source].shapes[output]
        return ()

    def exit(self, unit: Unit) -> Shape:
        """Return the shape of a unit's output."""
        everything = list(unit.everything())
        return self.operators[everything[-1]].shapes[0] if everything else ()

    def contents(self, section: Section) -> List[str]:
        """Return what a section holds, for its box at stage level."""
        blocks = Counter(self.kind(unit) for unit in section.units if unit.branches)
        chains = [unit for unit in section.units if not unit.branches]
        lines = [f'{count} {kind}{"s" if count > 1 else ""}' for kind, count in blocks.items()]
        if len(chains) <= NAMED and not blocks:
            lines += continued([row for unit in chains for row in self.rows(unit.own)])
        elif chains:
            told = ' → '.join(describe(op) for unit in chains for op in self.heavy(unit.own))
            count = f'{len(chains)}{" further" if blocks else ""} unit{"s" if len(chains) > 1 else ""}'
            lines.append(told if len(told) <= WIDE else count)
        channels = self.channels(section.units)
        size = '×'.join(map(str, spatial(self.operators[list(section.everything())[-1]])))
        if section.role == 'stage' and channels and size:
            lines.append(f'{channels}, {size}')
        return lines

    def block(self, unit: Unit) -> List[str]:
        """Return what the branches of a block hold, for a box that stands for the whole block."""
        lines: List[str] = []
        for branch in unit.branches:
            own = [i for part in branch for i in part.everything()]
            rows = continued(self.rows(own))
            lines += [f'beside: {rows[0]}', *rows[1:]] if lines and rows else rows
        inside = set(unit.everything())
        skip = any(source not in inside for i in unit.own[:1] for source, _ in self.operators[i].inputs)
        joined = self.line(unit.own) + (' (skip)' if skip else '')
        if len(lines) <= LINES:
            return [*lines, joined]
        heavy = len(self.heavy(list(unit.everything())))
        return [f'{len(unit.branches)} branches, {heavy} weighted operators', joined]

    def heavy(self, own: Sequence[int]) -> List[Operator]:
        """Return the operators that hold weights."""
        return [self.operators[i] for i in own if self.operators[i].weighted]

    def line(self, own: Sequence[int]) -> str:
        """Return a chain's operators in words on one line."""
        return ' → '.join(word.removeprefix(BREAK) for word, _ in self.words(own))

    def lines(self, own: Sequence[int]) -> List[str]:
        """Return a chain's operators in words, one line per weighted operator with what goes with it."""
        return continued(self.rows(own))

    def rows(self, own: Sequence[int]) -> List[str]:
        """Return the lines of a chain without the arrow from one to the next."""
        words = self.words(own)
        leading = bool(words) and self.operators[own[0]].op in NORMALISING
        rows: List[List[str]] = [[]]
        filled = False  # the row has its weighted operator
        for i, (word, weighted) in enumerate(words):
            more = any(heavy for _, heavy in words[i:])  # light operators at the end stay on the row
            full = len(' → '.join([*rows[-1], word])) > WIDE
            if full or word.startswith(BREAK) or (filled and more and (leading or weighted)):
                rows.append([])
                filled = False
            rows[-1].append(word)
            filled = filled or weighted
        return [' → '.join(row) for row in rows if row]

    def words(self, own: Sequence[int]) -> List[Tuple[str, bool]]:
        """Return (words, weighted) for the steps of a chain; a gate in it is one step."""
        found: List[Tuple[str, bool]] = []
        for step in self.steps(own):
            members = [self.operators[i] for i in step.ids]
            if step.activation:
                found.append((step.activation, False))
            elif excites(members[:-1], members[-1], self.operators):
                found.append(('squeeze-excite', True))
            elif len(parts := components(step.ids[:-1], self.layout.wiring)) > 1:
                for number, part in enumerate(parts):
                    (first, heavy), *rest = self.words(part)
                    found += [(f'{BREAK}beside: {first}' if number else first, heavy), *rest]
                found.append((BREAK + describe(members[-1]), False))
            else:
                found += [(describe(op), op.weighted and not op.depthwise) for op in members]
        return [word for word in found if word[0] != 'identity' or len(found) == 1]

    def steps(self, own: Sequence[int]) -> List[Step]:
        """Return a chain as steps: one operator each, or what lies between two cuts."""
        found = []
        for element in decompose(own, self.layout.wiring) if len(own) > 1 else own:
            if not isinstance(element, Region):
                found.append(Step((element,)))
            elif element.join is None:
                found.append(Step(element.interior))
            else:
                interior = [self.operators[i] for i in element.interior]
                name = composite(interior, self.operators[element.join])
                found.append(Step((*element.interior, element.join), name))
        return found


def is_part(label: str, other: str) -> bool:
    """Whether a label is the other one or its first words."""
    return other == label or (other.startswith(label) and other[len(label)] in SEPARATORS)


def continued(rows: Sequence[str]) -> List[str]:
    """Return the rows with an arrow behind each that leads to the next."""
    ends = ['' if after.startswith(BREAK) else ' →' for after in rows[1:]]
    return [row.removeprefix(BREAK) + end for row, end in zip(rows, [*ends, ''])]
