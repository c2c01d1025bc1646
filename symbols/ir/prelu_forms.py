"""PReLU in whatever operators it is built of, found by what they compute.

Operators that read one tensor x and one parameter a are run on numbers: a node that gives x above 0 and a x below it
(He et al. 2015, 'Delving Deep into Rectifiers', equation 1) ends a PReLU.
"""

from __future__ import annotations

import re
from collections import defaultdict
from math import prod
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from symbols.ir.nodes import Node, flag

Entry = Tuple[int, int]
PRELU = 'PReLU'  # the operator of a node that stands for all those of one
LARGEST = 12  # operators that one is looked for in
X, A = np.array(
    [(x, a) for x in (-1e6, -3.0, -1.0, -0.5, 0.5, 2.0, 1e6) for a in (-0.75, 0.0, 0.25, 1.0, 1.5)]
).T
MASKS = ('_greater_scalar', '_greater_equal_scalar', '_lesser_scalar', '_lesser_equal_scalar', 'sign')
KINKS = frozenset(
    ['Activation', 'relu', '_maximum_scalar', '_minimum_scalar', 'abs', 'where', 'clip', *MASKS]
)
ENDS = frozenset(
    [
        *('elemwise_add', 'broadcast_add', 'elemwise_sub', 'broadcast_sub', 'where'),
        *('elemwise_mul', 'broadcast_mul', '_mul_scalar', '_div_scalar'),
    ]
)
CONSTANT = re.compile(r'prelu\d+_(beta|moving_mean|moving_var)')  # of `symbols.passes.prelu.for_training`

# The value of an operator by those of its inputs, and the number that it has as an attribute.
COMPUTE: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(('Activation', 'relu'), lambda v, s: np.maximum(v, 0)),
    **dict.fromkeys(('Reshape', 'expand_dims', '_copy', 'broadcast_axis', 'broadcast_to'), lambda v, s: v),
    **dict.fromkeys(('broadcast_like', 'reshape_like'), lambda v, like, s: v),
    **dict.fromkeys(('elemwise_add', 'broadcast_add'), lambda v, w, s: v + w),
    **dict.fromkeys(('elemwise_sub', 'broadcast_sub'), lambda v, w, s: v - w),
    **dict.fromkeys(('elemwise_mul', 'broadcast_mul'), lambda v, w, s: v * w),
    '_maximum_scalar': np.maximum,
    '_minimum_scalar': np.minimum,
    'abs': lambda v, s: np.abs(v),
    'negative': lambda v, s: -v,
    '_mul_scalar': np.multiply,
    '_div_scalar': np.divide,
    '_plus_scalar': np.add,
    '_minus_scalar': np.subtract,
    '_rminus_scalar': lambda v, s: s - v,
    '_greater_scalar': np.greater,
    '_greater_equal_scalar': np.greater_equal,
    '_lesser_scalar': np.less,
    '_lesser_equal_scalar': np.less_equal,
    'sign': lambda v, s: np.sign(v),
    'clip': lambda v, s: np.clip(v, *s),
    'zeros_like': lambda v, s: np.zeros_like(v),
    'ones_like': lambda v, s: np.ones_like(v),
    'where': lambda condition, v, w, s: np.where(condition, v, w),
    'BatchNorm': lambda v, gamma, beta, mean, variance, s: v * gamma,
}


class Merged(NamedTuple):
    """Nodes with each PReLU as one, and for each the numbers of the nodes that it stands for, its own last."""

    nodes: Tuple[Node, ...]
    members: Tuple[Tuple[int, ...], ...]


def merge_prelus(nodes: Sequence[Node], heads: Sequence[Sequence[int]]) -> Merged:
    """Return the nodes of `list_nodes` with one in the place of all that a PReLU is built of.

    It reads x and the variables that its operators read. Operators that something else reads, too, or that give an
    output, `heads`, stay as they are.
    """
    readers: Dict[int, Set[int]] = defaultdict(set, {head[0]: {len(nodes)} for head in heads})
    for number, node in enumerate(nodes):
        for source, _ in node.inputs:
            readers[source].add(number)
    found = {number: each for number in range(len(nodes)) if (each := _find(nodes, number, readers))}
    gone = {inner for _, own in found.values() for inner in own[:-1]}
    place: Dict[int, int] = {}
    kept: List[Node] = []
    members: List[Tuple[int, ...]] = []
    for number, node in enumerate(nodes):
        if number in gone:
            continue
        operator, attributes, read = node.operator, node.attributes, node.inputs
        own: Tuple[int, ...] = (number,)
        if number in found:
            x, own = found[number]
            variables = [entry for each in own for entry in nodes[each].inputs if nodes[entry[0]].is_variable]
            operator, attributes, read = PRELU, {'act_type': 'prelu'}, tuple(dict.fromkeys([x, *variables]))
        place[number] = len(kept)
        inputs = tuple((place[source], output) for source, output in read)
        kept.append(Node(node.name, operator, attributes, inputs, node.output_shapes))
        members.append(own)
    return Merged(tuple(kept), tuple(members))


def _find(
    nodes: Sequence[Node], end: int, readers: Mapping[int, Set[int]]
) -> Optional[Tuple[Entry, Tuple[int, ...]]]:
    """Return the input of the PReLU that a node ends, and its nodes; None where it ends none."""
    node = nodes[end]
    if node.operator == 'LeakyReLU' and node.attributes.get('act_type') == 'prelu':
        return node.inputs[0], (end,)
    for x in _candidates(nodes, end) if node.operator in ENDS else ():
        trial = _Trial(nodes, x)
        value = trial.value((end, 0))
        own = {*trial.seen}
        alone = all(readers[each] <= own for each in own - {end})
        if value is not None and alone and np.allclose(value, np.where(X > 0, X, A * X)):
            return x, tuple(sorted(own))
    return None


def _candidates(nodes: Sequence[Node], end: int) -> List[Entry]:
    """Return what the operators with a kink at 0 near a node read, straight or scaled."""
    found: Dict[Entry, None] = {}
    ahead = [end]
    for _ in range(LARGEST):
        node = nodes[ahead.pop(0)] if ahead else None
        if node is None or node.operator not in COMPUTE:
            continue
        if node.operator in KINKS:
            read = [node.inputs[0], *nodes[node.inputs[0][0]].inputs[:1]]
            found.update(dict.fromkeys(read))
        ahead += [source for source, _ in node.inputs]
    return list(found)


def _number(node: Node) -> Any:
    """Return the number that an operator has as an attribute, of a clip both."""
    if node.operator == 'clip':
        return tuple(float(node.attributes[key]) for key in ('a_min', 'a_max'))
    return float(node.attributes.get('scalar', 0))


class _Trial:
    """What nodes give where x is X and the slopes are A; `seen` are the operators between."""

    def __init__(self, nodes: Sequence[Node], x: Entry) -> None:
        self.seen: Set[int] = set()
        self._nodes, self._x = nodes, x
        self._slopes: Optional[str] = None
        shape = nodes[x[0]].output_shapes[x[1]]
        self._counts = (1, *shape[1:2])  # of slopes: one, or one for each channel

    def value(self, entry: Entry) -> Optional[np.ndarray]:
        """Return the values of an entry; None where it reads anything else, or an operator is not known."""
        number = entry[0]
        node = self._nodes[number]
        if entry == self._x:
            return X
        if node.is_variable:
            if CONSTANT.fullmatch(node.name):
                return A
            fits = prod(node.output_shapes[0]) in self._counts and self._slopes in (None, node.name)
            self._slopes = node.name
            return A if fits else None
        if not self._computes(node) or len(self.seen) > LARGEST:
            return None
        self.seen.add(number)
        read = [self.value(each) for each in node.inputs]
        known = all(each is not None for each in read)
        return COMPUTE[node.operator](*read, _number(node)) if known else None

    def _computes(self, node: Node) -> bool:
        """Return whether an operator is computed as COMPUTE does."""
        if node.operator == 'BatchNorm':
            constants = all(CONSTANT.fullmatch(self._nodes[source].name) for source, _ in node.inputs[2:])
            return constants and not flag(node.attributes, 'fix_gamma', True)
        return node.operator in COMPUTE and node.attributes.get('act_type', 'relu') == 'relu'
