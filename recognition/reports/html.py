"""A report of a run: one HTML file that holds its pictures and tables and needs nothing beside it.

    write_report('runs/demo', 'ORL faces', [
        Section('Accuracy', [comparison({'network': result, 'raw pixels': baseline})]),
        Section('Network', [picture('runs/demo/network.svg', 'In stages'), *audit_blocks(audited)]),
    ])

Blocks are made by the functions here, which escape every text they are given. The page has no script and no
link, and says so to the browser.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, List, Mapping, NewType, Sequence

from config.errors import ConfigError, DataError
from recognition.utils.files import PathLike, write_whole
from recognition.verification.lfw import Verification

NAME = 'report.html'
MIME_TYPES = {'.png': 'image/png', '.svg': 'image/svg+xml'}

WIDE = 'body { max-width: max-content; }\n'

Block = NewType('Block', str)  # HTML that is safe to put on the page

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; color: #1f2933; background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid #d5dbe1; font-size: 1.3rem; }
p { margin: .5rem 0; max-width: 46rem; }
.lead { font-size: 1.1rem; color: #3e4c59; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .92rem; }
caption { text-align: left; padding-bottom: .35rem; color: #52606d; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid #e4e7eb; }
thead th { border-bottom: 2px solid #9aa5b1; }
tbody th { font-weight: 600; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: min(100%, 44rem); height: auto; }
figcaption { margin-top: .4rem; color: #52606d; font-size: .92rem; }
summary { cursor: pointer; color: #0b5394; }
@media print { h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
""".strip()


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def write_report(
    folder: PathLike, title: str, sections: Sequence[Section], summary: str = '', *, name: str = NAME
) -> Path:
    """Write `folder`/report.html, or another `name`, and return its path; `summary` stands below the title.

    Raises DataError when it cannot be written; an older report is replaced only by a whole one.
    """
    return write_whole(
        Path(folder) / name, html(title, sections, summary).encode('utf-8', 'backslashreplace')
    )


def html(title: str, sections: Sequence[Section], summary: str = '', *, wide: bool = False) -> str:
    """Return the page as text; a wide one is as wide as its tables."""
    body = [f'<h1>{escape(title)}</h1>']
    if summary:
        body.append(f'<p class="lead">{escape(summary)}</p>')
    for section in sections:
        body += ['<section>', f'<h2>{escape(section.title)}</h2>', *section.blocks, '</section>']
    page = [
        '<!doctype html>',
        '<html lang="en">',
        '<head>',
        '<meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{escape(title)}</title>',
        f'<style>\n{STYLE}\n{WIDE if wide else ""}</style>',
        '</head>',
        '<body>',
        *body,
        '</body>',
        '</html>',
    ]
    return '\n'.join(page) + '\n'


def paragraph(text: str) -> Block:
    """Return a paragraph."""
    return Block(f'<p>{escape(text)}</p>')


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = '') -> Block:
    """Return a table; its first column names the rows, whole numbers get thousands separators.

    A column whose cells are numbers, or texts that begin with a digit or are '-' or empty, is set to the
    right.
    """
    right = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(head))]
    lines = ['<div class="scroll"><table>']
    if caption:
        lines.append(f'<caption>{escape(caption)}</caption>')
    lines.append('<thead>' + _row(head, right, ['th scope="col"'] * len(head)) + '</thead>')
    kinds = ['th scope="row"'] + ['td'] * (len(head) - 1)
    lines += ['<tbody>', *(_row(row, right, kinds) for row in rows), '</tbody>', '</table></div>']
    return Block('\n'.join(lines))


def settings(values: Mapping[str, Any], caption: str = '') -> Block:
    """Return a table of keys and values."""
    return table(['setting', 'value'], [[key, str(value)] for key, value in values.items()], caption)


def picture(path: PathLike, caption: str) -> Block:
    """Return a PNG or SVG file as a picture inside the page; DataError when it cannot be read."""
    path = Path(path)
    if path.suffix.lower() not in MIME_TYPES:
        raise ConfigError(f'{path}: a report shows pictures of the types {", ".join(MIME_TYPES)} only')
    try:
        data = base64.b64encode(path.read_bytes()).decode('ascii')
    except OSError as error:
        raise DataError(f'{path}: cannot be read: {error.strerror}') from error
    # as an image an SVG runs no script and loads nothing
    source = f'data:{MIME_TYPES[path.suffix.lower()]};base64,{data}'
    text = escape(caption)
    return Block(f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>')


def folded(title: str, block: Block) -> Block:
    """Return a block that is hidden until the reader opens it."""
    return Block(f'<details><summary>{escape(title)}</summary>\n{block}\n</details>')


def comparison(verifications: Mapping[str, Verification]) -> Block:
    """Return a table of named verifications: accuracy, equal error rate, area, and TAR at every FAR they share."""
    if not verifications:
        raise DataError('there is no verification to compare')
    first = next(iter(verifications.values()))
    fars = [far for far in first.tar_at_far if all(far in v.tar_at_far for v in verifications.values())]
    head = ['', 'accuracy (%)', 'equal error rate (%)', 'AUC', *(f'TAR (%) at FAR {far:g}' for far in fars)]
    rows = [
        [
            name,
            f'{100 * v.accuracy:.2f} ± {100 * v.accuracy_std:.2f}',
            f'{100 * v.eer:.2f}',
            f'{v.auc:.4f}',
            *(f'{100 * v.tar_at_far[far]:.2f}' for far in fars),
        ]
        for name, v in verifications.items()
    ]
    counts = sorted({(v.pairs, v.folds) for v in verifications.values()})
    over = ' / '.join(f'{pairs:,} pairs in {folds} folds' for pairs, folds in counts)
    return table(head, rows, f'{over}; ± is the standard deviation over the folds')


def audit_blocks(audited: Any) -> List[Block]:
    """Return the totals of a `symbols.audit.Audit` and, folded, a row for each layer that has parameters or FLOPs."""
    total = audited.total
    totals = table(
        ['', 'number'],
        [
            ['parameters', total.parameters],
            ['trainable', total.trainable],
            ['fixed', total.fixed],
            ['auxiliary (moving statistics, no parameters)', total.auxiliary],
            ['multiply-accumulates', total.flops],
        ],
        'input ' + ', '.join(f'{name} {_by(shape)}' for name, shape in audited.inputs.items()),
    )
    rows = [
        [
            layer.name,
            layer.operator,
            ' '.join(_by(shape) for shape in layer.output_shapes),
            layer.size(),
            layer.size('auxiliary'),
            '-' if layer.flops is None else layer.flops,
        ]
        for layer in audited.layers
        if layer.size() or layer.size('auxiliary') or layer.flops != 0
    ]
    head = ['layer', 'operator', 'output', 'parameters', 'auxiliary', 'multiply-accumulates']
    return [
        totals,
        folded(f'Layer by layer ({len(rows)} layers with parameters or arithmetic)', table(head, rows)),
    ]


def _row(cells: Sequence[Any], right: Sequence[bool], kinds: Sequence[str]) -> str:
    parts = []
    for cell, is_right, kind in zip(cells, right, kinds):
        shown = f'{cell:,}' if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)
        mark = ' class="number"' if is_right else ''
        parts.append(f'<{kind}{mark}>{escape(shown)}</{kind.split()[0]}>')
    return '<tr>' + ''.join(parts) + '</tr>'


def _is_number(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell in ('', '-') or cell[0].isdigit()
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _by(shape: Sequence[int]) -> str:
    return 'x'.join(map(str, shape))
