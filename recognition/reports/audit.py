"""Audits as reports: a row per layer, subtotals, totals, why print_summary differs, and how two networks differ."""

from __future__ import annotations

from typing import IO, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from config.errors import first_few
from recognition.reports.tables import Cell, Report, Table, write
from symbols.audit.core import TRAINABLE, Audit, Layer
from symbols.audit.memory import Memory
from symbols.audit.print_summary_check import Difference, SummaryCheck
from symbols.graph.layers import NetLayer
from symbols.graph.subtotals import BLOCK, Subtotal
from symbols.graph.weighted_layers import WeightedLayers

NAMED = 6  # layers that one line of the explanation names
MEGABYTE = 1e6
NUMBERS = ('trainable', 'fixed', 'auxiliary', 'MACs', 'bytes')


def print_audit(network: str, audited: Audit, check: SummaryCheck, file: IO[str]) -> None:
    """Print the audit of `network` to `file`: in its width and in colour where that is a terminal, else whole.

    Raises MissingExtra where rich is not installed.
    """
    write(audit_report(network, audited, check), 'terminal', file)


def audit_report(
    network: str,
    audited: Audit,
    check: SummaryCheck,
    stages: Sequence[Subtotal] = (),
    memory: Optional[Memory] = None,
    *,
    weighted: Optional[WeightedLayers] = None,
    layers: Sequence[NetLayer] = (),
    explain: bool = False,
) -> Report:
    """Return the report of one network.

    layers: the rows, in place of one for each operator; explain: a line for each operator where print_summary is off,
    not one a reason.
    """
    inputs = ', '.join(f'{name} {_by(shape)}' for name, shape in audited.inputs.items())
    rows = _net_layers(layers, audited) if layers else _layers(audited, check)
    tables = [rows, *([_stages(stages)] if stages else [])]
    lines = _totals(audited)
    lines += _weighted(weighted) if weighted else []
    lines += _memory(memory) if memory else []
    lines += _explanation(audited, check, explain)
    units = 'FLOPs are multiply-accumulates (MACs), bytes those of the outputs, for this batch'
    return Report(network, tables, lines, f'input {inputs}; {units}')


def _layers(audited: Audit, check: SummaryCheck) -> Table:
    rows, marked = [], []
    for number, (layer, said) in enumerate(zip(audited.layers, check.layers)):
        differs = said is not None and said != layer.size()
        summary: Cell = '-' if said is None else said if differs else said or None
        marked += [number] if differs else []
        rows.append(
            (
                layer.name,
                layer.operator,
                _shapes(layer.input_shapes),
                _shapes(layer.output_shapes),
                *_sizes(Subtotal(layer.operator, layer.name, (layer,))),
                summary,
            )
        )
    head = ('layer', 'operator', 'input', 'output', *NUMBERS, 'print_summary')
    foot = _foot(audited, '-' if check.total is None else check.total)
    spare = frozenset(['input', 'bytes'])
    return Table(head, tuple(rows), foot, 4, 'Layers', frozenset(marked), spare)


def _net_layers(layers: Sequence[NetLayer], audited: Audit) -> Table:
    rows: List[Tuple[Cell, ...]] = []
    for layer in layers:
        read = ' '.join(layers[i].name for i, _ in layer.inputs)
        rows.append((layer.name, layer.type, read, _shapes(layer.shapes), *_sizes(layer)))
    head = ('layer', 'type', 'reads', 'output', *NUMBERS)
    return Table(head, tuple(rows), _foot(audited), 4, 'Layers', spare=frozenset(['reads', 'bytes']))


def _foot(audited: Audit, *more: Cell) -> Tuple[Cell, ...]:
    total = audited.total
    sums = (total.trainable, total.fixed, total.auxiliary, total.flops, total.bytes)
    return ('total', '', '', '', *sums, *more)


def _sizes(part: Subtotal) -> Tuple[Cell, ...]:
    uncounted = any(layer.flops is None for layer in part.layers)
    macs: Cell = part.flops or ('uncounted' if uncounted else None)
    return (part.trainable or None, part.fixed or None, part.auxiliary or None, macs, part.bytes or None)


def _stages(stages: Sequence[Subtotal]) -> Table:
    rows = tuple(
        (
            ('  ' if each.level == BLOCK else '') + each.name,
            len(each.layers),
            *_sizes(each),
        )
        for each in stages
    )
    head = ('stage', 'layers', *NUMBERS)
    return Table(head, rows, title='Stages and blocks', spare=frozenset(['bytes']))


def _totals(audited: Audit) -> List[str]:
    total = audited.total
    lines = [
        f'parameters     {total.parameters:>16,}  = {total.trainable:,} trainable + {total.fixed:,} fixed',
        f'auxiliary      {total.auxiliary:>16,}  moving statistics, which are no parameters',
        f'MACs           {total.flops:>16,}',
    ]
    if audited.uncounted:
        names = ', '.join(sorted({layer.operator for layer in audited.uncounted}))
        lines.append(f'uncounted      {len(audited.uncounted):>16,}  layers without a rule for MACs: {names}')
    shared = {name: owner for layer in audited.layers for name, owner in layer.shared.items()}
    lines += [f'{name} is shared, and counts once, at {owner}' for name, owner in shared.items()]
    return lines


def _weighted(weighted: WeightedLayers) -> List[str]:
    terms = f'= {weighted.terms}: ' if weighted.terms != str(weighted.count) else ''
    which = 'convolutions and dense layers, without those of shortcuts and gates'
    return [f'weighted layers{weighted.count:>16,}  {terms}{which}']


def _memory(memory: Memory) -> List[str]:
    return [
        f'inference      {_megabytes(memory.inference):>16}  = {_megabytes(memory.parameters)} parameters + '
        f'{_megabytes(memory.inference_activations)} activations at most',
        f'training       {_megabytes(memory.training):>16}  = {_megabytes(memory.parameters)} parameters + '
        f'{_megabytes(memory.gradients)} gradients + {_megabytes(memory.training_activations)} activations at most',
    ]


def _megabytes(size: int) -> str:
    return f'{size / MEGABYTE:,.1f} MB'


def _explanation(audited: Audit, check: SummaryCheck, explain: bool) -> List[str]:
    if check.total is None:
        return [f'print_summary  {"-":>16}  {check.error}']
    missing = audited.total.parameters - check.total
    lines = [
        f'print_summary  {check.total:>16,}  '
        + (f'off by {missing:,}:' if missing else 'the same parameters')
    ]
    lines += [_one(item) for item in check.differences] if explain else _by_reason(check.differences)
    if audited.total.auxiliary:
        lines.append(f'  (auxiliary states: print_summary leaves out all {audited.total.auxiliary:,})')
    return lines


def _one(item: Difference) -> str:
    return (
        f'  {item.layer} ({item.operator}) has {item.audit:,} parameters and print_summary counts '
        f'{item.print_summary:,}: {item.reason}'
    )


def _by_reason(differences: Sequence[Difference]) -> List[str]:
    groups: Dict[Tuple[str, str], List[Difference]] = {}
    for item in differences:
        groups.setdefault((item.operator, item.reason), []).append(item)
    lines = []
    for (operator, reason), items in groups.items():
        names = first_few((item.layer for item in items), NAMED)
        lines.append(f'  {sum(item.difference for item in items):+,}  {operator} {names}: {reason}')
    return lines


def difference_report(one: str, other: str, before: Audit, after: Audit) -> Report:
    """Return how two networks differ: layers of one alone, and those whose operator, shapes or parameters differ."""
    first, second = ({layer.name: layer for layer in each.layers} for each in (before, after))
    rows: List[Tuple[Cell, ...]] = []
    for name in dict.fromkeys([*first, *second]):
        a, b = first.get(name), second.get(name)
        if a and not b:
            rows.append((name, f'only in {one}', a.operator, '', a.size(), a.flops))
        elif b and not a:
            rows.append((name, f'only in {other}', '', b.operator, b.size(), b.flops))
        elif a and b:
            rows += _changes(name, a, b)
    sums = [_sums(each) for each in (before, after)]
    totals = tuple(
        (what, a, b, b - a) for what, a, b in zip(('parameters', 'auxiliary', 'MACs', 'bytes'), *sums)
    )
    layers = Table(('layer', 'what', one, other, 'parameters', 'MACs'), tuple(rows), names=4, title='Layers')
    total = Table(('total', one, other, 'difference'), totals, title='Totals')
    lines = [] if rows else [f'{one} and {other} have the same layers']
    return Report(f'{one} and {other}', [total, layers] if rows else [total], lines)


def _sums(audited: Audit) -> Tuple[int, ...]:
    total = audited.total
    return total.parameters, total.auxiliary, total.flops, total.bytes


def _changes(name: str, a: Layer, b: Layer) -> List[Tuple[Cell, ...]]:
    """Return a row for each thing that two layers of one name have different."""
    sizes = (b.size() - a.size(), None if a.flops is None or b.flops is None else b.flops - a.flops)
    found = [
        ('operator', a.operator, b.operator),
        ('output', _shapes(a.output_shapes), _shapes(b.output_shapes)),
        ('parameters', _parameters(a), _parameters(b)),
        ('attributes', _attributes(a, b), _attributes(b, a)),
    ]
    return [(name, what, x, y, *(value or None for value in sizes)) for what, x, y in found if x != y]


def _parameters(layer: Layer) -> str:
    kinds = ((each, '' if each.kind == TRAINABLE else f' {each.kind}') for each in layer.parameters)
    return ', '.join(f'{_by(each.shape)}{kind}' for each, kind in kinds)


def _attributes(layer: Layer, other: Layer) -> str:
    """Return the attributes of a layer that the other has not, or not so."""
    own, theirs = layer.attributes, other.attributes
    return ' '.join(f'{key}={value}' for key, value in own.items() if theirs.get(key) != value)


def largest(audited: Audit, what: str, count: int = 5) -> List[str]:
    """Return the layers that have the most of 'parameters', 'flops' or 'bytes', the largest first, in words."""
    of: Mapping[str, Any] = {
        'parameters': lambda layer: layer.size(),
        'flops': lambda layer: layer.flops or 0,
        'bytes': lambda layer: layer.bytes,
    }
    layers = sorted(audited.layers, key=of[what], reverse=True)[:count]
    return [f'{layer.name} ({of[what](layer):,})' for layer in layers]


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ' '.join(map(_by, shapes))


def _by(shape: Sequence[int]) -> str:
    return 'x'.join(map(str, shape))
