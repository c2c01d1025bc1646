"""PReLU in other forms: as one operator where a network is saved, and in the form that trains fastest on a CPU.

A network here has it as four operators around a product (`symbols.activations.PReLU`), equal to the last bit to
LeakyReLU(act_type='prelu'), whose gradient MXNet gets wrong at times. InsightFace's symbols have the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Mapping, Sequence, Tuple

import numpy as np

from symbols.ir.nodes import list_nodes
from symbols.ir.rewriter import Described, Draft, Entry, Moved, Rule, describe, replacement, rewrite

import mxnet as mx

OPERATOR = 'LeakyReLU'
# The variance 1 - EPS and EPS add up to 1 to the last bit; MXNet wants EPS above 1e-5.
EPS = 2.0**-10
CONSTANTS: Mapping[str, float] = {'beta': 0.0, 'moving_mean': 0.0, 'moving_var': 1.0 - EPS}


@dataclass(frozen=True)
class Prelu:
    """A PReLU of a described graph: its name, what it rectifies, and its slopes."""

    name: str
    data: Tuple[int, int]
    slopes: Tuple[int, int]


def find_prelus(graph: Described) -> Dict[int, Prelu]:
    """Return every PReLU by the number of the node that gives its output, in either form."""
    nodes = graph['nodes']
    found = {}
    for number, node in enumerate(nodes):
        if node['op'] == OPERATOR and node.get('attrs', {}).get('act_type') == 'prelu':
            data, slopes = node['inputs']
            found[number] = Prelu(node['name'], (data[0], data[1]), (slopes[0], slopes[1]))
        elif node['op'] == 'elemwise_add':
            found.update(_of_sum(nodes, number))
    return found


def _of_sum(nodes: Sequence[Described], number: int) -> Dict[int, Prelu]:
    """Return the PReLU whose last node is this sum, if it is one: max(0, x) + slopes * min(0, x)."""
    positive, scaled = (nodes[entry[0]] for entry in nodes[number]['inputs'])
    if (positive['op'], scaled['op']) != ('Activation', 'elemwise_mul'):
        return {}
    negative, spread = (nodes[entry[0]] for entry in scaled['inputs'])
    if (negative['op'], spread['op']) != ('_minimum_scalar', 'broadcast_like'):
        return {}
    shaped = nodes[spread['inputs'][0][0]]
    (data,), (other,) = positive['inputs'], negative['inputs']
    bounds = positive['attrs']['act_type'], float(negative['attrs']['scalar'])
    if data != other or bounds != ('relu', 0.0) or shaped['op'] != 'Reshape':
        return {}
    slopes = shaped['inputs'][0]
    return {number: Prelu(nodes[number]['name'], (data[0], data[1]), (slopes[0], slopes[1]))}


def as_operators(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return the symbol with each PReLU as LeakyReLU(act_type='prelu'), under the same name, as InsightFace has it."""
    graph = describe(symbol)
    rules = {
        number: replacement(OPERATOR, each.name, [each.data, each.slopes], act_type='prelu')
        for number, each in find_prelus(graph).items()
    }
    return rewrite(graph, rules)


def for_training(
    symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]]
) -> Tuple[mx.sym.Symbol, Dict[str, np.ndarray]]:
    """Return the symbol with each PReLU of feature maps in a form that trains faster, and the constants it reads.

    shapes: of the inputs by name. The form is slopes * x + (1 - slopes) * max(0, x), both products made by a batch norm
    with fixed statistics: unlike MXNet's arithmetic, that reads oneDNN's blocked layout, and its gradient sums over the
    map at once. Equal to PReLU but for the rounding of a + (1 - a), for any slope. The constants, float32 by name,
    are arguments and auxiliary states of the symbol that nothing changes.
    """
    graph, nodes = describe(symbol), list_nodes(symbol, shapes)
    constants: Dict[str, np.ndarray] = {}
    rules = {}
    for number, prelu in find_prelus(graph).items():
        shape = nodes[number].output_shapes[0]
        if len(shape) == 4:
            slopes = nodes[prelu.slopes[0]].output_shapes[0][0]
            rules[number], own = by_batch_norms(prelu, channels=shape[1], slopes=slopes)
            constants.update(own)
    return rewrite(graph, rules), constants


def by_batch_norms(prelu: Prelu, *, channels: int, slopes: int) -> Tuple[Rule, Dict[str, np.ndarray]]:
    """Return the rule that puts the form of `for_training` in a PReLU's place, and the constants that it reads.

    channels: of the feature map; slopes: how many there are, as many or 1.
    """
    form = _ByBatchNorms(prelu, channels, slopes)
    return form, form.constants()


@dataclass(frozen=True)
class _ByBatchNorms:
    """The rule that puts a PReLU's faster form in its place."""

    prelu: Prelu
    channels: int
    slopes: int

    def __call__(self, draft: Draft, moved: Moved) -> Entry:
        """Add the form's nodes."""
        name, x, slopes = self.prelu.name, moved(self.prelu.data), moved(self.prelu.slopes)
        if self.slopes != self.channels:
            slopes = draft.operator(
                'broadcast_axis', f'{name}_slopes', [slopes], axis='0', size=str(self.channels)
            )
        rest = draft.operator('_rminus_scalar', f'{name}_rest', [slopes], scalar='1.0')
        positive = draft.operator('Activation', f'{name}_positive', [x], act_type='relu')
        parts = [
            self._times(draft, f'{name}_whole', x, slopes),
            self._times(draft, f'{name}_kept', positive, rest),
        ]
        return draft.operator('elemwise_add', name, parts)

    def _times(self, draft: Draft, name: str, x: Entry, factors: Entry) -> Entry:
        held = [draft.variable(each, {}) for each in self.constants()]
        fixed = {'fix_gamma': 'False', 'use_global_stats': 'True', 'eps': repr(EPS)}
        return draft.operator('BatchNorm', name, [x, factors, *held], **fixed)

    def constants(self) -> Dict[str, np.ndarray]:
        """Return beta, mean and variance of the batch norms, the same for all of as many channels."""
        return {
            f'prelu{self.channels}_{kind}': np.full(self.channels, value, np.float32)
            for kind, value in CONSTANTS.items()
        }
