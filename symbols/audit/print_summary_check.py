"""What `mx.viz.print_summary` says of a symbol, and which layers explain where it differs from the audit."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

from symbols.audit.core import VARIABLE, Audit, Layer
from symbols.audit.flops import RULES
from symbols.ir.nodes import Node, Shape, flag, list_nodes
from symbols.ir.prelu_forms import PRELU, merge_prelus
from symbols.ir.rewriter import describe
from symbols.ir.shapes import quiet

import mxnet as mx

NUMBER_WIDTH = 24
HEADER_LINES = 3
TOTAL = 'Total params:'


@dataclass(frozen=True)
class Difference:
    """A layer where print_summary is off: parameters by the audit and by print_summary, and why."""

    layer: str
    operator: str
    audit: int
    print_summary: int
    reason: str

    @property
    def difference(self) -> int:
        """What print_summary misses here; below 0 what it counts too much."""
        return self.audit - self.print_summary


@dataclass(frozen=True)
class SummaryCheck:
    """print_summary's total (None, with the error, where it crashes), its number per layer, the differences.

    The differences add up to the audit's total.parameters - total. Auxiliary states are in neither number.
    """

    total: Optional[int]
    error: Optional[str]
    layers: Tuple[Optional[int], ...]  # beside `Audit.layers`; None where print_summary has no such row
    differences: Tuple[Difference, ...]


def check_summary(symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]], audited: Audit) -> SummaryCheck:
    """Run mx.viz.print_summary on the symbol and explain, layer by layer, where it differs from `audited`."""
    nodes = list_nodes(symbol, shapes)
    merged = merge_prelus(nodes, describe(symbol)['heads'])
    rows = [index for index, node in enumerate(nodes) if index == 0 or not node.is_variable]
    counts, total, error = _run_print_summary(symbol, audited.inputs, nodes)
    if total is None:
        at = f' at {nodes[rows[len(counts)]].name}' if len(counts) < len(rows) else ''
        return SummaryCheck(None, f'crashes{at}: {error}', (None,) * len(audited.layers), ())
    told = dict(zip(rows, counts))
    operators = iter([own for own in merged.members if not nodes[own[-1]].is_variable])
    said: List[Optional[int]] = []
    differences: List[Difference] = []
    for layer in audited.layers:
        own = () if layer.operator == VARIABLE else next(operators)
        count = sum(told[index] for index in own) if own else None
        said.append(count)
        if layer.size() != (count or 0):
            reason = _reason(own[-1] if own else -1, nodes, layer, audited)
            differences.append(Difference(layer.name, layer.operator, layer.size(), count or 0, reason))
    return SummaryCheck(total, None, tuple(said), tuple(differences))


def _run_print_summary(
    symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]], nodes: Sequence[Node]
) -> Tuple[List[int], Optional[int], Optional[str]]:
    """Return print_summary's parameter counts row by row, its total, and how it failed if it did.

    It cuts fields at the column's width, so the columns are made wide enough for the longest name.
    """
    name_width = max(len(node.name) + len(node.operator) for node in nodes) + 3
    shape_width = max(len(str(shape)) for node in nodes for shape in node.output_shapes) + 2
    ends = [name_width, name_width + shape_width]
    ends += [ends[1] + NUMBER_WIDTH, ends[1] + NUMBER_WIDTH + name_width]
    text, error = io.StringIO(), None
    try:
        with quiet(), contextlib.redirect_stdout(text):
            mx.viz.print_summary(
                symbol,
                shape={name: tuple(shape) for name, shape in shapes.items()},
                line_length=ends[-1],
                positions=ends,
            )
    except Exception as failure:  # it fails in many ways on valid graphs, none of which concern the audit
        error = f'{type(failure).__name__}: {str(failure).strip() or "no message"}'.splitlines()[0]
        if isinstance(failure, IndexError):
            error += ' (it reads the second axis of an input that has one)'
    lines = text.getvalue().splitlines()
    totals = [int(line.split(':')[1]) for line in lines[-2:] if line.startswith(TOTAL)]
    return list(_parse_counts(lines[HEADER_LINES:], ends)), totals[0] if totals else None, error


def _parse_counts(lines: Sequence[str], ends: Sequence[int]) -> Iterator[int]:
    rules = ('_' * ends[-1], '=' * ends[-1])
    starts_row = True
    for line in lines:
        if line.startswith(TOTAL):
            return
        if starts_row and line not in rules:
            yield int(line[ends[1] : ends[2]])
        starts_row = line in rules  # a layer with several inputs goes on over further lines


@dataclass(frozen=True)
class _Case:
    """A layer that print_summary miscounts, and what may explain it."""

    index: int
    node: Node
    nodes: Sequence[Node]

    @property
    def data(self) -> Shape:
        """The shape of the first input."""
        source, output = self.node.inputs[0]
        return self.nodes[source].output_shapes[output]


def _reason(index: int, nodes: Sequence[Node], layer: Layer, audited: Audit) -> str:
    if layer.operator == VARIABLE:
        return 'a parameter that is itself an output, which print_summary does not count'
    case = _Case(index, nodes[index], nodes)
    shared = [f'{name} is shared: it counts at {owner}' for name, owner in layer.shared.items()]
    given = [
        f'{nodes[i].name} is an input, not a parameter'
        for i, _ in case.node.inputs[1:]
        if nodes[i].name in audited.inputs
    ]
    if layer.operator == PRELU:
        return '; '.join([*shared, 'print_summary does not count PReLU slopes'])
    found = [text for explain in EXPLANATIONS.get(layer.operator, (_not_known,)) for text in explain(case)]
    return '; '.join(shared + given + found) or f'print_summary has no rule that fits this {layer.operator}'


def _not_known(case: _Case) -> Iterator[str]:
    operator = case.node.operator
    if operator in RULES or operator.endswith('Norm'):
        yield f'print_summary does not count the parameters of {operator}'
    else:
        yield 'print_summary does not count parameters of plain arithmetic (scales, say)'


def _flattening(case: _Case) -> Iterator[str]:
    shape = case.data
    if len(shape) > 2 and flag(case.node.attributes, 'flatten', True):
        yield (
            f'it flattens its {_by(shape)} input to {prod(shape[1:])} features; '
            f'print_summary counts {shape[1]}, the second axis alone'
        )
    elif len(shape) > 2 and shape[1] != shape[-1]:
        yield f'it works on the last axis of its {_by(shape)} input; print_summary takes the second'


def _channels_last(case: _Case) -> Iterator[str]:
    layout = case.node.attributes.get('layout', 'None')
    if layout.endswith('C'):
        yield f'its layout is {layout}; print_summary takes the second axis for the channels'


def _axis(case: _Case) -> Iterator[str]:
    axis = int(case.node.attributes.get('axis', '1'))
    if axis % len(case.data) != 1:
        yield f'it normalises axis {axis}; print_summary takes the second axis for the channels'


def _inputs_seen(case: _Case) -> Iterator[str]:
    """Explain which inputs print_summary wrongly takes, or fails to take, for the layer's data."""
    heads_first = {0}  # print_summary mistakes the numbers of the first output's entry for node indices
    for slot, (source, _) in enumerate(case.node.inputs):
        node = case.nodes[source]
        seen = not node.is_variable or source in heads_first
        if slot == 0 and not seen:
            yield f'its input {node.name} is a variable, whose channels print_summary does not look up'
        elif slot == 0 and len(node.output_shapes) > 1:
            yield f'its input is one output of several of {node.name}, which print_summary does not look up'
        elif slot and seen:
            yield f'print_summary takes {node.name}, which gives a weight or bias, for a further input'


def _bias_spelling(case: _Case) -> Iterator[str]:
    spelt = case.node.attributes.get('no_bias', 'False')
    if flag(case.node.attributes, 'no_bias', False) and spelt != 'True':
        yield f'it has no bias, but print_summary does not understand no_bias={spelt}'


def _same_names(case: _Case) -> Iterator[str]:
    counts = Counter(node.name for node in case.nodes)
    for name in {case.node.name, case.nodes[case.node.inputs[0][0]].name}:
        if counts[name] > 1:
            yield f'several nodes are called {name}, and print_summary takes the last'


_Explanation = Callable[[_Case], Iterator[str]]
EXPLANATIONS: Mapping[str, Tuple[_Explanation, ...]] = {
    'FullyConnected': (_flattening, _inputs_seen, _bias_spelling, _same_names),
    'Convolution': (_channels_last, _inputs_seen, _bias_spelling, _same_names),
    'BatchNorm': (_axis, _same_names),
    'Embedding': (),
}


def _by(shape: Shape) -> str:
    return 'x'.join(map(str, shape))
