"""The README's examples run as they stand, and the files and options it names are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
# Those that begin with the name of a file are that file, and have tests/test_one_file_and_one_row.py.
EXAMPLES = re.findall(r'```python\n(?!# symbols/)(.*?)```', README, re.DOTALL)
PROGRAM = r'(?:facesymbols|python) (?:tools/\w+\.py|-m [\w.]+|(?<=facesymbols )[a-z][\w-]*)'
TEXTS = {'README.md': README, 'docs/commands.md': (ROOT / 'docs' / 'commands.md').read_text(encoding='utf-8')}
PROGRAMS = sorted({program for text in TEXTS.values() for program in re.findall(rf'[`\s]({PROGRAM})', text)})
OPTIONS = sorted(
    {
        (program, option)
        for line in README.splitlines()
        for program in re.findall(rf'^    ({PROGRAM})', line)
        for option in re.findall(r' (--[\w-]+)', line.split('#')[0].split(' -- ')[0])
    }
)


WHOLE_HELP = {
    'facesymbols train': ['--help-all'],
    'facesymbols import-weights': ['insightface', '--help'],  # the formats have the same options
}


def python(*argv):
    return subprocess.run([sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, timeout=300)


def module(program):
    """Return the arguments that run a program from the root, installed or not."""
    first, name = program.split(' ', 1)
    if first == 'facesymbols':
        return ['-m', 'recognition', name]
    return ['-m', name[3:] if name.startswith('-m ') else name[: -len('.py')].replace('/', '.')]


@pytest.mark.slow
@pytest.mark.parametrize('example', EXAMPLES, ids=['gluon', 'module_fit'])
def test_the_examples_run_as_they_stand(example):
    done = python('-c', example)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('program', PROGRAMS)
def test_the_programs_take_the_options_the_readme_gives_them(program):
    shown = python(*module(program), *WHOLE_HELP.get(program, ['--help']))
    assert shown.returncode == 0, shown.stderr
    for name, option in OPTIONS:
        if name == program:
            assert re.search(rf'{option}\b', shown.stdout), (program, option)


def test_links_and_pictures_are_in_the_repository():
    targets = re.findall(r'\]\((?!http)([^)]+)\)', README)
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing
