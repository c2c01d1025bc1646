"""An audit as text: a table with a row per layer, the totals, and why print_summary says something else."""

from __future__ import annotations

from typing import IO, Any, Dict, List, Optional, Sequence, Tuple

from config.errors import MissingExtra
from symbols.audit import AUXILIARY, FIXED, TRAINABLE, Audit
from symbols.summary_check import Difference, SummaryCheck

WIDE = 100_000  # columns for a reader that is not a terminal: nothing is folded or cut
NAMED = 6  # layers that one line of the explanation names


def print_audit(network: str, audited: Audit, check: SummaryCheck, file: IO[str]) -> None:
    """Print the audit of `network` to `file`: in its width and in colour where that is a terminal, else whole.

    Raises MissingExtra where rich is not installed.
    """
    try:
        from rich.console import Console
    except ImportError:
        raise MissingExtra("the table needs rich: pip install 'facesymbols[audit]' (JSON does not)") from None
    terminal = file.isatty()
    console = Console(
        file=file,
        width=None if terminal else WIDE,
        force_terminal=terminal,
        no_color=not terminal or None,
        highlight=False,
    )
    with (
        console.capture() as captured
    ):  # rich would end the program itself where the reader of a pipe has gone
        _print(console, network, audited, check)
    file.write(captured.get())


def _print(console: Any, network: str, audited: Audit, check: SummaryCheck) -> None:
    from rich.text import Text

    inputs = ', '.join(f'{name} {_by(shape)}' for name, shape in audited.inputs.items())
    console.print(Text(f'{network}: input {inputs}; FLOPs are multiply-accumulates (MACs) for this batch'))
    table = _table(audited, check)
    if console.measure(table, options=console.options.update(width=WIDE)).maximum > console.width:
        table = _table(audited, check, stacked=True)
    console.print(table)
    for line in _totals(audited) + _explanation(audited, check):
        console.print(Text(line), soft_wrap=not console.is_terminal)


def _table(audited: Audit, check: SummaryCheck, *, stacked: bool = False) -> Any:
    """Return a row per layer; `stacked` puts operator and output below the name, for a narrow terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False, padding=(0, 1, 0, 0))
    total = audited.total
    table.add_column('layer', overflow='fold', footer='total')
    if not stacked:
        table.add_column('operator', overflow='fold')
        table.add_column('output', overflow='fold')
    numbers = (total.trainable, total.fixed, total.auxiliary, total.flops, check.total)
    for title, footer in zip(('trainable', 'fixed', 'auxiliary', 'MACs', 'print_summary'), numbers):
        table.add_column(
            title, justify='right', no_wrap=True, footer='-' if footer is None else f'{footer:,}'
        )
    for layer, said in zip(audited.layers, check.layers):
        differs = said is not None and said != layer.size()
        cells = [
            _number(layer.size(TRAINABLE)),
            _number(layer.size(FIXED)),
            _number(layer.size(AUXILIARY)),
            'uncounted' if layer.flops is None else _number(layer.flops),
            (f'{said:,}' if differs else _number(said)) if said is not None else '-',
        ]
        shapes = ' '.join(_by(shape) for shape in layer.output_shapes)
        names = [layer.name, layer.operator, shapes]
        first = [f'{layer.name}\n  {layer.operator}\n  {shapes}'] if stacked else names
        table.add_row(*map(Text, first + cells), style='yellow' if differs else None)
    return table


def _number(value: Optional[int]) -> str:
    return f'{value:,}' if value else ''


def _by(shape: Sequence[int]) -> str:
    return 'x'.join(map(str, shape))


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


def _explanation(audited: Audit, check: SummaryCheck) -> List[str]:
    if check.total is None:
        return [f'print_summary  {"-":>16}  {check.error}']
    missing = audited.total.parameters - check.total
    lines = [
        f'print_summary  {check.total:>16,}  '
        + (f'off by {missing:,}:' if missing else 'the same parameters')
    ]
    groups: Dict[Tuple[str, str], List[Difference]] = {}
    for item in check.differences:
        groups.setdefault((item.operator, item.reason), []).append(item)
    for (operator, reason), items in groups.items():
        names = ', '.join(item.layer for item in items[:NAMED])
        if len(items) > NAMED:
            names += f' and {len(items) - NAMED} more'
        lines.append(f'  {sum(item.difference for item in items):+,}  {operator} {names}: {reason}')
    if audited.total.auxiliary:
        lines.append(f'  (auxiliary states: print_summary leaves out all {audited.total.auxiliary:,})')
    return lines
