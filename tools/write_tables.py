"""Write the tables of networks, heads and activations into README.md, and of ONNX's operators into docs.

The tables stand between the lines `<!-- tables -->` and `<!-- end of tables -->`; the rest is left as it is.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Iterable, Iterator, List, Optional, Sequence

from recognition.cli import run
from config import DataError, network, resolve
from config.presets import HEADS
from recognition.export.onnx.builder import Draft, load_onnx
from recognition.export.onnx.converter import RULES
from recognition.utils.files import write_whole
from symbols import get_symbol, list_activations, list_heads
from symbols.audit.core import Audit, audit

BEGIN, END = '<!-- tables -->\n', '<!-- end of tables -->\n'
OPERATORS = 'onnx-operators.md'
PAGES = ['README.md', f'docs/{OPERATORS}']
COLUMNS = ('r18', 'd121', 'xception')  # of the largest families


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Write the tables, or with --check say whether they are up to date."""
    parser = argparse.ArgumentParser(prog='write_tables.py', description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('pages', nargs='*', default=PAGES, help='files to write (default: %(default)s)')
    parser.add_argument(
        '--check', action='store_true', help='write nothing; status 1 when the tables are not up to date'
    )
    args = parser.parse_args(argv)
    for path in map(Path, args.pages):
        try:
            text = path.read_text(encoding='utf-8')
        except OSError as error:
            raise DataError(f'{path} cannot be read: {error.strerror}') from error
        written = with_tables(text, path)
        if not args.check:
            write_whole(path, written.encode('utf-8'))
        elif written != text:
            raise DataError(f'the tables of {path} are not up to date; run python tools/write_tables.py')
    return None


def with_tables(text: str, path: Path) -> str:
    """Return the text with the tables as they should be; DataError where it has no place for them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(
            f'{path} has no lines {BEGIN.strip()!r} and {END.strip()!r} for the tables to stand between'
        )
    return f'{before}{BEGIN}\n{operators() if path.name == OPERATORS else tables()}\n{END}{after}'


@functools.lru_cache(maxsize=1)
def tables() -> str:
    """Return the three tables as Markdown."""
    return '\n'.join([*_networks(), '', *_heads(), '', *_activations()]) + '\n'


def _networks() -> List[str]:
    rows = []
    for name in network:
        cfg = resolve(name)
        sized = _audit(cfg)
        last = _audit(resolve(name, net_output='Z')).layers[-1].output_shapes[0]
        total = sized.total
        rows.append(
            [
                f'`{name}`',
                f'`{cfg.net_name}`',
                f'`{cfg.net_output}`',
                cfg.net_act,
                '×'.join(map(str, cfg.image_shape)),
                '×'.join(map(str, last[1:])),
                f'{total.parameters:,}',
                f'{total.auxiliary:,}',
                f'{total.flops / 1e9:.2f}',
            ]
        )
    head = ['preset', 'family', 'head', 'activation', 'image', 'last map', 'parameters', 'auxiliary', 'GMACs']
    return _markdown(head, rows, right=(6, 7, 8))


def _heads() -> List[str]:
    rows = [
        [
            f'`{name}`',
            ', '.join(f'`{letter}`' for letter in HEADS[name]) or '-',
            *(_parameters(preset, net_output=name, net_act='relu') for preset in COLUMNS),
        ]
        for name in list_heads()
    ]
    columns = [f'`{preset}`, relu' for preset in COLUMNS]
    return _markdown(['head', 'InsightFace', *columns], rows, right=range(2, 2 + len(columns)))


def _activations() -> List[str]:
    rows = [
        [f'`{name}`', *(_parameters(preset, net_act=name) for preset in COLUMNS)]
        for name in list_activations()
    ]
    columns = [f'`{preset}`' for preset in COLUMNS]
    return _markdown(['activation', *columns], rows, right=range(1, 1 + len(columns)))


def operators() -> str:
    """Return the table of MXNet's operators and of ONNX's that compute the same."""
    known = {schema.name for schema in load_onnx().defs.get_all_schemas()}
    rows = []
    for name in sorted(RULES, key=lambda each: each.lstrip('_').lower()):
        used = sorted(known & set(_texts(RULES[name], set())))
        rows.append([f'`{name}`', ', '.join(f'`{each}`' for each in used) or '-'])
    return '\n'.join(_markdown(['MXNet', 'ONNX'], rows, right=())) + '\n'


def _texts(value: Any, seen: set[int]) -> Iterator[str]:
    """Yield each text in a rule, in the settings bound to it, and in the functions and tables that it uses."""
    if isinstance(value, str):
        yield value
        return
    parts: Iterable[Any] = ()
    if isinstance(value, functools.partial):
        parts = (value.func, *value.args)
    elif isinstance(value, FunctionType) and value.__module__.startswith('recognition.export.onnx'):
        inside = [value.__code__]
        for code in inside:
            inside += [each for each in code.co_consts if isinstance(each, CodeType)]
        names = {'reshape': Draft.reshape, **value.__globals__}
        used = [names[each] for code in inside for each in code.co_names if each in names]
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = (*(each for code in inside for each in code.co_consts), *used, *cells)
    elif isinstance(value, (dict, tuple, list)):
        parts = value.values() if isinstance(value, dict) else value
    if id(value) not in seen:
        seen.add(id(value))
        for part in parts:
            yield from _texts(part, seen)


def _audit(cfg: Any) -> Audit:
    height, width, channels = cfg.image_shape
    return audit(get_symbol(cfg), {'data': (1, channels, height, width)})


def _parameters(preset: str, **settings: Any) -> str:
    return f'{_audit(resolve(preset, **settings)).total.parameters:,}'


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int]) -> List[str]:
    numbers = set(right)
    rule = ['---:' if column in numbers else '---' for column in range(len(head))]
    return [f'| {" | ".join(row)} |' for row in [head, rule, *rows]]


if __name__ == '__main__':
    run(main)
