"""Result of comparing two forms of a network: the first layer that differs, as values and as a sentence."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Tuple


class Difference(NamedTuple):
    """The first layer that differs, and the values that are farthest apart there.

    layers: its names in both. folded: layers of the first that the other merges with it. points: what is compared,
    by its names in both. before: the last point before that agrees. place: of the value, the image first; () where the
    shapes differ. values: in both. share: the distance as a share of the largest value. weight: a parameter of the
    layer that differs, and its value in both.
    """

    layers: Tuple[str, str]
    operator: str
    folded: Tuple[str, ...]
    points: Tuple[str, str]
    before: str
    place: Tuple[int, ...]
    values: Tuple[float, ...]
    share: float
    shapes: Tuple[Tuple[int, ...], Tuple[int, ...]]
    weight: Optional[Tuple[str, float, float]] = None

    def words(self, names: Sequence[str] = ('A', 'B')) -> str:
        """Return it in words; names: of the two forms."""
        one, other = names
        notes = [
            self.operator,
            f'{self.layers[1]} in {other}' if self.layers[0] != self.layers[1] else '',
            f'merged with {", ".join(self.folded)}' if self.folded else '',
        ]
        layer = f'{self.layers[0]} ({"; ".join(filter(None, notes))})'
        if not self.place:
            shapes = ' and '.join(f'{shape} in {name}' for shape, name in zip(self.shapes, names))
            return f'{layer}: its shape is {shapes}'
        image, *place = self.place
        mine, theirs = self.values
        point = '' if self.points == self.layers else f' of {self.points[0]}'
        values = f'value {place}{point} for image {image} is {mine:.6g} in {one} and {theirs:.6g} in {other}'
        weight = '; {} is {:.6g} in {} and {:.6g} in {}'
        weights = weight.format(*self.weight[:2], one, self.weight[2], other) if self.weight else ''
        return f'{layer}: {values}, {self.share:.2g} of the largest value apart{weights}'


class Comparison(NamedTuple):
    """Points of two traces that agree, and the first layer that does not.

    agreed: names of the first network's points that match one of the other, each with that one's name and the
    distance as a share of the largest value; total: how many points it has. first: the first layer that differs.
    same_output: whether the networks' own outputs match.
    """

    agreed: Sequence[Tuple[str, str, float]]
    total: int
    first: Optional[Difference]
    same_output: bool
