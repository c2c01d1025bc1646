"""`print_summary` with the signature and the layout of `mx.viz.print_summary`, and the right numbers."""

from __future__ import annotations

import sys
from typing import List, Mapping, Optional, Sequence

from symbols.audit.core import VARIABLE, audit
from symbols.ir.nodes import list_nodes
from symbols.ir.prelu_forms import merge_prelus
from symbols.ir.rewriter import describe

import mxnet as mx

HEAD = ('Layer (type)', 'Output Shape', 'Param #', 'Previous Layer')


def print_summary(
    symbol: mx.sym.Symbol,
    shape: Optional[Mapping[str, Sequence[int]]] = None,
    line_length: int = 120,
    positions: Sequence[float] = (0.44, 0.64, 0.74, 1.0),
) -> None:
    """Print a row for each layer: name and operator, output without the batch axis, parameters, what it reads.

    shape: of the inputs by name, batch axis included. line_length: characters of a line; positions: where the columns
    end, as shares of it, or in characters where the last is above 1. A parameter that several layers read counts at the
    first. Auxiliary states are no parameters. Raises ConfigError as `symbols.audit.audit` does, for missing shapes say.
    Source: mx.viz.print_summary.
    """
    ends = [int(line_length * end) if positions[-1] <= 1 else int(end) for end in positions]
    shapes = shape or {}
    audited = audit(symbol, shapes)
    layers = iter([layer for layer in audited.layers if layer.operator != VARIABLE])
    nodes = merge_prelus(list_nodes(symbol, shapes), describe(symbol)['heads']).nodes
    lines = ['_' * line_length, _row(HEAD, ends), '=' * line_length]
    for number, node in enumerate(nodes):
        if node.is_variable and number:
            continue
        if node.is_variable:
            lines += _layer(node.name, 'null', audited.inputs.get(node.name, ())[1:], 0, [], ends)
        else:
            layer = next(layers)
            before = [nodes[i] for i, _ in node.inputs]
            read = [each.name for each in before if not each.is_variable or each.name in audited.inputs]
            lines += _layer(layer.name, layer.operator, layer.output_shapes[0][1:], layer.size(), read, ends)
        lines.append(('=' if number == len(nodes) - 1 else '_') * line_length)
    lines += [f'Total params: {audited.total.parameters}', '_' * line_length]
    sys.stdout.write('\n'.join(lines) + '\n')


def _layer(
    name: str, operator: str, shape: Sequence[int], size: int, before: Sequence[str], ends: Sequence[int]
) -> List[str]:
    """Return the lines of a layer: one, and one more for each further layer that it reads."""
    first, *others = before or ['']
    rows = [_row((f'{name}({operator})', 'x'.join(map(str, shape)), str(size), first), ends)]
    return rows + [_row(('', '', '', other), ends) for other in others]


def _row(fields: Sequence[str], ends: Sequence[int]) -> str:
    line = ''
    for text, end in zip(fields, ends):
        line = (line + text)[:end].ljust(end)
    return line
