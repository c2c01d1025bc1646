"""A copy of the checkout in which a user has added a backbone, a head and an activation, to the README's letter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ('config', 'symbols', 'recognition', 'tools')
README = (ROOT / 'README.md').read_text('utf-8').partition('## Adding a backbone')[2]
FILES = dict(re.findall(r'```python\n# (symbols/\w+\.py)\n(.*?)```', README, re.DOTALL))
# Each table of config/presets.py with how it begins there, and the row that the README gives for it.
TABLES = {'FAMILIES': 'FAMILIES = {\n', 'HEADS': 'HEADS = {\n', 'ACTIVATIONS': 'ACTIVATIONS = (\n'}
ROWS = {table: re.search(rf'`{table}`[^`]*(?:`Family`[^`]*)?`([^`]+,)`', README).group(1) for table in TABLES}


def copy_checkout(folder, names=(*PACKAGES, 'tests', 'README.md', 'pyproject.toml', 'examples', 'docs')):
    """Copy what is needed to run the programs and the tests, and return the folder."""
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def add_row(folder, table, row):
    path = folder / 'config' / 'presets.py'
    before, start, after = path.read_text('utf-8').partition(f'\n{TABLES[table]}')
    assert start
    path.write_text(f'{before}{start}    {row}\n{after}', 'utf-8')


def add_file(folder, name, text):
    path = folder / name
    assert not path.exists()
    path.write_text(text, 'utf-8')


def add_all(folder):
    """Write the README's three files and three rows."""
    for table, row in ROWS.items():
        add_row(folder, table, row)
    for name, text in FILES.items():
        add_file(folder, name, text)
    return folder


def python(folder, *argv, timeout=600):
    """Run Python in the copy, whose packages come before those that are installed."""
    environment = {**os.environ, 'PYTHONPATH': str(folder), 'PYTEST_ADDOPTS': ''}
    return subprocess.run(
        [sys.executable, '-W', 'ignore', *map(str, argv)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def succeed(folder, *argv, **settings):
    """Run Python in the copy and return what it prints; it must end with status 0."""
    done = python(folder, *argv, **settings)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def last_line(folder, *argv):
    """Run Python in the copy, which must fail, and return its last word."""
    done = python(folder, *argv)
    assert done.returncode != 0, done.stdout
    return done.stderr.strip().rpartition('\n')[2]
