"""A Markdown file of suites, a section each; a suite that is measured anew takes the place of its last section."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

from config.errors import DataError
from recognition.utils.files import write_whole

TITLE = """# Benchmarks

This project beside what people use without it, by `make bench`. The contenders take turns, a ratio is taken within each
round to the first row of the same network, and the tables have the medians. The figures themselves are the machine's.
"""
HEADING = re.compile(r'^## (\S+)$', re.MULTILINE)


def section(about: str, machine: Mapping[str, Any], settings: Mapping[str, Any], table: str) -> str:
    """Return a suite's section below its heading: what it measures, machine and versions, settings, the table."""
    words = [
        ', '.join(f'{key} {_text(value)}' for key, value in each.items()) for each in (machine, settings)
    ]
    return '\n\n'.join([f'{about[0].upper()}{about[1:]}.', *(f'{each}.' for each in words if each), table])


def _text(value: Any) -> str:
    return ','.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def put_section(path: Path, suite: str, text: str, order: Sequence[str]) -> None:
    """Write a suite's section into a file, which need not exist; the others of `order` stay as they are.

    DataError where the file cannot be read or written.
    """
    sections = {**_read(path), suite: text}
    parts = [f'## {name}\n\n{sections[name].strip()}\n' for name in order if name in sections]
    write_whole(path, '\n'.join([TITLE, *parts]).encode())


def _read(path: Path) -> Dict[str, str]:
    try:
        _, *parts = HEADING.split(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path} could not be read: {error}') from error
    return dict(zip(parts[::2], parts[1::2]))
