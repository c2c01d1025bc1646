"""The first layer in which two forms of one network differ, found by the values that both give.

The forms need not have the same operators or names: a batch norm may be folded into a convolution, a scaling moved.
Two points match where their values are equal. A point without a match differs only where a path from it to the output
has no match either; otherwise the other form computes the same in other steps.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from recognition.tracing.comparison import Comparison, Difference
from recognition.tracing.points import Trace

TOLERANCE = 1e-4  # of a layer's largest value
SAMPLED = 64  # values of an image by which points that cannot match are ruled out
CANDIDATES = 8  # points of each form, from the first that differs on, of which two are compared
GATE = 8  # a match that is so many times smaller than a map, as a gate is, proves nothing of it
NEAR = 4.0  # times the smallest share of values that differ, or distance; an activation hides some of it
ALL = 0.5  # share of values from which on it does not say which points belong together
SMALL = 4  # constants of no more values are means and scales of pixels
KERNELS = ('Conv', 'Deconv', 'FullyConnected', 'Gemm', 'InnerProduct', 'MatMul')  # how such operators begin
INPUT = 'the input'
WEIGHT = re.compile(r'(.+)[_.]weight')
TINY = float(np.finfo(np.float32).tiny)

Paths = Tuple[List[int], List[int]]  # the points of both forms that differ


class _Form:
    """One of the two traces, and which of its points match one of the other."""

    def __init__(self, trace: Trace) -> None:
        self.points = trace.points
        self.rows = [np.asarray(each.values).reshape(len(each.values), -1) for each in trace.points]
        self.scales = [_largest(rows) for rows in self.rows]
        self.parameters, self.outputs = trace.parameters, set(trace.outputs)
        self.matches: Dict[int, Tuple[int, float]] = {}
        self._read_by: List[List[int]] = [[] for _ in trace.points]
        for place, point in enumerate(trace.points):
            for source in point.inputs:
                self._read_by[source].append(place)

    def differing(self) -> List[int]:
        """Return the points with a path to an output on which nothing matches, and no path to a match of their size.

        Where one form adds up in another order, sums have no match for many layers, and the layers that read them have.
        A gate, which is far smaller, may match within the tolerance behind a layer that differs.
        """
        found: Set[int] = set()
        largest = [0] * len(self.points)  # sizes of matches behind each point
        for place in reversed(range(len(self.points))):
            readers = self._read_by[place]
            if place not in self.matches and (place in self.outputs or not found.isdisjoint(readers)):
                found.add(place)
            sizes = [self.rows[each].size if each in self.matches else largest[each] for each in readers]
            largest[place] = max(sizes, default=0)
        return sorted(place for place in found if largest[place] * GATE < self.rows[place].size)

    def layer(self, path: Sequence[int], end: int) -> Tuple[str, str, Tuple[str, ...]]:
        """Return the name and operator of the first layer on a path up to `end`, and the names of the others."""
        layers = [place for place in path if place <= end and self.is_weighted(place)]
        chosen = next(filter(self.is_kernel, layers), next(iter(layers), end))
        second = [place for place in layers if self.is_kernel(place)][1:2]
        name = self._layer_name(chosen)
        if not any(map(self.is_weighted, range(end + 1))) and any(
            map(self.is_weighted, range(len(self.points)))
        ):
            name = INPUT
        return (
            name,
            self.points[chosen].operator or 'as it is',
            tuple(
                self._layer_name(place)
                for place in layers
                if place != chosen and not (second and place >= second[0])
            ),
        )

    def _layer_name(self, place: int) -> str:
        """Return the name of a layer by its weight, since a folded one may be called after the batch norm."""
        names = (
            [WEIGHT.fullmatch(name) for name in self.points[place].parameters]
            if self.is_kernel(place)
            else []
        )
        return next((found.group(1) for found in names if found), self.points[place].name)

    def is_weighted(self, place: int) -> bool:
        """Return whether a point has weights, and no constants of pixels alone."""
        sizes = [self.parameters[name].size for name in self.points[place].parameters]
        return max(sizes, default=0) > SMALL or self.is_kernel(place)

    def is_kernel(self, place: int) -> bool:
        """Return whether a point is a convolution or a dense layer."""
        return self.points[place].operator.startswith(KERNELS)


def first_difference(one: Trace, other: Trace, tolerance: float = TOLERANCE) -> Comparison:
    """Compare two forms of one network on the same images; `tolerance`: a share of a layer's largest value."""
    with np.errstate(invalid='ignore', over='ignore'):  # values that are not finite have no match
        return _compare(_Form(one), _Form(other), tolerance)


def explain(
    one: Callable[[], Trace], other: Callable[[], Trace], names: Sequence[str], tolerance: float = TOLERANCE
) -> str:
    """Return the end of a sentence that refuses a network: its first layer that differs; '' where that is not found.

    It is added to an error, which no fault in here may hide.
    """
    try:
        found = first_difference(one(), other(), tolerance).first
    except Exception:  # the network is faulty already
        return ''
    return f'; the first layer that differs is {found.words(names)}' if found else ''


def _compare(mine: _Form, theirs: _Form, tolerance: float) -> Comparison:
    _match(mine, theirs, tolerance)
    agreed = [
        (mine.points[place].name, theirs.points[match].name, share)
        for place, (match, share) in sorted(mine.matches.items())
    ]
    paths = mine.differing(), theirs.differing()
    first = _difference(mine, theirs, paths, tolerance) if all(paths) else None
    ends = {mine.matches[place][0] for place in mine.outputs if place in mine.matches}
    return Comparison(agreed, len(mine.points), first, bool(ends & theirs.outputs))


def _match(mine: _Form, theirs: _Form, tolerance: float) -> None:
    """Note the match of each point: the first of the same size whose values are within the tolerance."""
    samples: Dict[Tuple[int, ...], List[int]] = {}
    for place, rows in enumerate(theirs.rows):
        samples.setdefault(rows.shape, []).append(place)
    held = {shape: np.stack([_sample(theirs.rows[at]) for at in places]) for shape, places in samples.items()}
    for place, rows in enumerate(mine.rows):
        if rows.shape not in held:
            continue
        bound = tolerance * mine.scales[place]
        near = np.abs(held[rows.shape] - _sample(rows)).max(axis=1) <= bound
        for match in np.array(samples[rows.shape])[near]:
            apart = float(np.abs(rows - theirs.rows[match]).max())
            if apart <= bound and (np.ptp(rows) > 0 or _may_be_constant(mine, theirs, place, match)):
                mine.matches.setdefault(place, (int(match), apart / mine.scales[place]))
                theirs.matches.setdefault(int(match), (place, 0.0))


def _may_be_constant(mine: _Form, theirs: _Form, place: int, match: int) -> bool:
    """Return whether values that are all the same, as dead layers give them anywhere, are those of the same layer."""
    both_end = place in mine.outputs and match in theirs.outputs
    return both_end or mine.points[place].name == theirs.points[match].name


def _largest(values: np.ndarray) -> float:
    """Return the largest of the values that are finite, without their signs, and no less than a number can be."""
    largest = float(np.abs(values).max(initial=0.0))
    return max(largest if np.isfinite(largest) else _largest(values[np.isfinite(values)]), TINY)


def _sample(rows: np.ndarray) -> np.ndarray:
    return rows[:, np.linspace(0, rows.shape[1] - 1, SAMPLED).astype(int)].ravel()


def _difference(mine: _Form, theirs: _Form, paths: Paths, tolerance: float) -> Difference:
    """Return what differs first, compared where the two forms are most alike."""
    rest = _behind_shifts(mine, theirs, paths, tolerance)
    pair = _compared(mine, theirs, rest, tolerance)
    # which alone make up for a shift
    kernels = [at for at in rest[0] if at <= pair[0] and mine.is_kernel(at)]
    if not kernels or _is_shift(mine, theirs, pair, tolerance, border=1):  # the shift is what is wrong
        rest, pair = paths, _compared(mine, theirs, paths, tolerance)
    place, match = pair
    layer, operator, folded = mine.layer(rest[0], place)
    layers = layer, theirs.layer(rest[1], match)[0]
    point, other = mine.points[place], theirs.points[match]
    shapes = tuple(point.values.shape), tuple(other.values.shape)
    rows = mine.rows[place], theirs.rows[match]
    before = [mine.points[at].name for at in sorted(mine.matches) if at < paths[0][0]]
    words = layers, operator, folded, (point.name, other.name), before[-1] if before else ''
    if rows[0].shape != rows[1].shape:
        return Difference(*words, (), (), 1.0, shapes)
    apart = np.abs(rows[0] - rows[1])
    at = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
    values = float(rows[0].flat[at]), float(rows[1].flat[at])
    where = tuple(map(int, np.unravel_index(at, shapes[0])))
    share = float(apart.flat[at]) / mine.scales[place]
    return Difference(*words, where, values, share, shapes, _weight(mine, theirs, pair, tolerance))


def _behind_shifts(mine: _Form, theirs: _Form, paths: Paths, tolerance: float) -> Paths:
    """Return what two paths are behind their last shift: one form may add what a batch norm adds further behind."""
    near = product(*(path[:CANDIDATES] for path in paths))
    pairs = [pair for pair in near if _is_shift(mine, theirs, pair, tolerance)]
    last = [max(places) for places in zip(*pairs)] or [-1, -1]
    one, other = ([place for place in path if place > end] for path, end in zip(paths, last))
    return (one, other) if one and other else paths


def _is_shift(mine: _Form, theirs: _Form, pair: Sequence[int], tolerance: float, border: int = 0) -> bool:
    """Return whether two points are apart by the same number everywhere in a channel; border: is left out of maps."""
    one, other = (form.points[place].values for form, place in zip((mine, theirs), pair))
    if one.shape != other.shape:
        return False
    edge = border if one.ndim == 4 and min(one.shape[2:]) > 2 * border else 0
    one, other = (each[:, :, edge:-edge, edge:-edge] if edge else each for each in (one, other))
    axes = tuple(axis for axis in range(one.ndim) if axis != 1)
    spreads = (np.ptp(each, axis=axes).max() for each in (one - other, one))
    return bool(next(spreads) <= tolerance * mine.scales[pair[0]] < next(spreads))


def _compared(mine: _Form, theirs: _Form, paths: Paths, tolerance: float) -> Tuple[int, int]:
    """Return the two points of one size that have most values in common.

    Of several with about as many, those of one name come before others, and earlier ones before later ones.
    """
    shares: Dict[Tuple[int, int], float] = {}
    for place, match in product(*(path[:CANDIDATES] for path in paths)):
        one, other = mine.rows[place], theirs.rows[match]
        if one.shape == other.shape:
            same = np.abs(one - other) <= tolerance * mine.scales[place]
            shares[place, match] = 1 - float(same.mean())
    kernels = [next(filter(form.is_kernel, path), -1) for form, path in zip((mine, theirs), paths)]
    alike = {theirs.rows[match].shape for match in paths[1][:CANDIDATES]}
    if not shares or (
        min(shares.values()) > ALL and min(kernels) >= 0 and mine.rows[kernels[0]].shape not in alike
    ):
        return (kernels[0], kernels[1]) if min(kernels) >= 0 else (paths[0][0], paths[1][0])
    near = [pair for pair, share in shares.items() if share <= NEAR * min(shares.values())]
    # what is done to pixels, before any weight, has another name in each form
    first = next(filter(mine.is_weighted, range(len(mine.points))), 0)
    ours, others = ([point.name for point in form.points] for form in (mine, theirs))
    known = [pair for pair in near if pair[0] < first or ours[pair[0]] == others[pair[1]]]
    if known:
        return known[0]
    return _closest(mine, theirs, near, paths) if min(shares.values()) > ALL else near[0]


def _closest(mine: _Form, theirs: _Form, pairs: Sequence[Tuple[int, int]], paths: Paths) -> Tuple[int, int]:
    """Return the first pair of about the smallest distance, of those before the second kernel that differs."""
    second = [place for place in paths[0] if mine.is_kernel(place)][1:2]
    before = [pair for pair in pairs if not second or pair[0] < second[0]] or pairs
    apart = {pair: np.abs(mine.rows[pair[0]] - theirs.rows[pair[1]]).mean() for pair in before}
    sizes = {pair: float(size / mine.scales[pair[0]]) for pair, size in apart.items()}
    return next((pair for pair in before if sizes[pair] <= NEAR * min(sizes.values())), before[0])


def _weight(
    mine: _Form, theirs: _Form, pair: Tuple[int, int], tolerance: float
) -> Optional[Tuple[str, float, float]]:
    """Return the weight that differs most of a parameter that two points read by the same name, and its values."""
    place, match = pair
    if mine.points[place].name != theirs.points[match].name:
        return None
    for name in mine.points[place].parameters:
        one, other = mine.parameters[name], theirs.parameters.get(name)
        if name not in theirs.points[match].parameters or other is None or one.shape != other.shape:
            continue
        apart = np.abs(np.asarray(one, np.float64) - other)
        wrong = ~(apart <= tolerance * _largest(one))
        if wrong.any():
            at = np.unravel_index(int(np.argmax(np.where(np.isnan(apart), np.inf, apart))), one.shape)
            return f'{name}{list(map(int, at))}', float(one[at]), float(other[at])
    return None
