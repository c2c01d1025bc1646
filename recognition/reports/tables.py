"""Tables and lines as data, and as text: for a terminal, Markdown, CSV or one HTML page."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field, replace
from typing import IO, Any, Callable, Dict, FrozenSet, List, Mapping, Sequence, Tuple, Union

from config.errors import ConfigError, MissingExtra, nearest
from recognition.reports import html as page

WIDE = 100_000  # columns for a reader that is not a terminal: nothing is folded or cut
Cell = Union[str, int, None]  # None, and in a table's own words '', is nothing to say


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head.

    foot: a last row of sums, or (); marked: rows that stand out; the first `names` columns are text, and go below each
    other where a terminal is narrow; before that it does without the columns `spare`.
    """

    head: Tuple[str, ...]
    rows: Tuple[Tuple[Cell, ...], ...]
    foot: Tuple[Cell, ...] = ()
    names: int = 1
    title: str = ''
    marked: FrozenSet[int] = frozenset()
    spare: FrozenSet[str] = frozenset()


@dataclass(frozen=True)
class Report:
    """A title and what is said about it, tables, and lines behind them."""

    title: str
    tables: Sequence[Table]
    lines: Sequence[str] = field(default_factory=tuple)
    about: str = ''


def shown(cell: Cell) -> str:
    """Return a cell as text: whole numbers with thousands separators."""
    return '' if cell is None else f'{cell:,}' if isinstance(cell, int) else cell


def write(report: Report, form: str, file: IO[str]) -> None:
    """Write a report to a text file in a form of FORMS; ConfigError for another, MissingExtra where rich is missing."""
    if form not in FORMS:
        raise ConfigError(f'format={form!r} is not one of {", ".join(FORMS)}{nearest(form, FORMS)}')
    FORMS[form](report, file)


def _terminal(report: Report, file: IO[str]) -> None:
    """Write in the terminal's width and in colour, or whole and without where the file is none."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        raise MissingExtra(
            "the table needs rich: pip install 'facesymbols[audit]' (the formats json, csv, markdown and html do not)"
        ) from None
    terminal = file.isatty()
    console = Console(
        file=file,
        width=None if terminal else WIDE,
        force_terminal=terminal,
        no_color=not terminal or None,
        highlight=False,
    )
    # rich would end the program itself where the reader of a pipe has gone
    with console.capture() as captured:
        console.print(Text(': '.join(filter(None, (report.title, report.about)))))
        for table in report.tables:
            if table.title:
                console.print(Text(f'\n{table.title}'))
            whole = console.options.update(width=WIDE)
            drawn = (_rich(form(table)) for form in (lambda table: table, _without_spare, _stacked))
            fits = (each for each in drawn if console.measure(each, options=whole).maximum <= console.width)
            console.print(next(fits, None) or _rich(_stacked(table)))
        for line in report.lines:
            console.print(Text(line), soft_wrap=not console.is_terminal)
    file.write(captured.get())


def _rich(table: Table) -> Any:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, show_footer=bool(table.foot), pad_edge=False, padding=(0, 1, 0, 0))
    feet = [shown(cell) for cell in table.foot] or [''] * len(table.head)
    for column, (title, foot) in enumerate(zip(table.head, feet)):
        if column < table.names:
            drawn.add_column(title, overflow='fold', footer=foot)
        else:
            drawn.add_column(title, justify='right', no_wrap=True, footer=foot)
    for number, row in enumerate(table.rows):
        style = 'yellow' if number in table.marked else None
        drawn.add_row(*(Text(shown(cell)) for cell in row), style=style)
    return drawn


def _without_spare(table: Table) -> Table:
    """Return the table without the columns that it can spare."""
    kept = [column for column, title in enumerate(table.head) if title not in table.spare]

    def narrow(row: Sequence[Cell]) -> Tuple[Cell, ...]:
        return tuple(row[column] for column in kept if row)

    names = sum(column < table.names for column in kept)
    rows = tuple(map(narrow, table.rows))
    return replace(
        table, head=tuple(map(table.head.__getitem__, kept)), rows=rows, foot=narrow(table.foot), names=names
    )


def _stacked(table: Table) -> Table:
    """Return the table with the columns of text below each other, without those it can spare."""
    table = _without_spare(table)
    names = table.names

    def narrow(row: Sequence[Cell]) -> Tuple[Cell, ...]:
        return ('\n  '.join(filter(None, map(shown, row[:names]))), *row[names:]) if row else ()

    head = (table.head[0], *table.head[names:])
    return replace(table, head=head, rows=tuple(map(narrow, table.rows)), foot=narrow(table.foot), names=1)


def _markdown(report: Report, file: IO[str]) -> None:
    parts = [f'# {_escaped(report.title)}', *([_escaped(report.about)] if report.about else [])]
    for table in report.tables:
        parts += [f'## {_escaped(table.title)}'] if table.title else []
        rule = ['---' if i < table.names else '---:' for i in range(len(table.head))]
        rows = [table.head, rule, *table.rows, *([table.foot] if table.foot else [])]
        parts.append(
            '\n'.join('| ' + ' | '.join(_escaped(shown(cell)) for cell in row) + ' |' for row in rows)
        )
    if report.lines:
        parts.append('\n'.join(f'    {line}' for line in report.lines))
    file.write('\n\n'.join(parts) + '\n')


def _escaped(text: str) -> str:
    return text.replace('\\', '\\\\').replace('|', '\\|').replace('_', '\\_').replace('*', '\\*')


def _csv(report: Report, file: IO[str]) -> None:
    """Write the first table, which has the rows; numbers are plain and empty cells empty."""
    table = report.tables[0]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(table.head)
    writer.writerows(['' if cell is None else cell for cell in row] for row in table.rows)
    file.write(text.getvalue())


def _html(report: Report, file: IO[str]) -> None:
    sections = [page.Section(table.title or 'Table', [_block(table)]) for table in report.tables]
    if report.lines:
        sections.append(page.Section('Totals', [page.paragraph(line) for line in report.lines]))
    file.write(page.html(report.title, sections, report.about, wide=True))


def _block(table: Table) -> page.Block:
    rows = [*table.rows, *([table.foot] if table.foot else [])]
    return page.table(table.head, [[shown(cell) for cell in row] for row in rows])


FORMS: Dict[str, Callable[[Report, IO[str]], None]] = {
    'terminal': _terminal,
    'markdown': _markdown,
    'csv': _csv,
    'html': _html,
}


def as_dicts(table: Table) -> List[Mapping[str, Cell]]:
    """Return the rows as dicts by the head, for JSON."""
    return [dict(zip(table.head, row)) for row in table.rows]
