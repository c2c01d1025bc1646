"""What no file may contain, read from the syntax tree of every file."""

from __future__ import annotations

import ast
from typing import List

import pytest

from tests.helpers.source import TESTS, TREES, imports


def text_faults(tree: ast.AST) -> List[str]:
    """Return what no file of this project may contain, tests included."""
    faults = [f'from {module} import *' for module, name in imports(tree) if name == '*']
    faults += ['from sys import path' for pair in imports(tree) if pair == ('sys', 'path')]
    faults += ['import site' for module, _ in imports(tree) if module == 'site']
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ('eval', 'exec'):
            faults.append(f'{ast.unparse(node)} in line {node.lineno}')
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == 'sys.path':
            faults.append(f'sys.path in line {node.lineno}')
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            faults.append(f'bare except in line {node.lineno}')
    return faults


def asserts(tree: ast.AST) -> List[int]:
    """Return the lines of assert statements: `python -O` drops them, so they cannot guard anything."""
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize('module', TREES)
def test_nothing_forbidden_in_the_code(module):
    assert text_faults(TREES[module]) == []
    assert asserts(TREES[module]) == []


@pytest.mark.parametrize('path', TESTS)
def test_nothing_forbidden_in_the_tests(path):
    assert text_faults(TESTS[path]) == []


@pytest.mark.parametrize(
    'line',
    [
        'eval(name)',
        'exec(text)',
        'import sys\nsys.path.append(".")',
        'from sys import path',
        'import site',
        'from config import *',
        'try:\n    f()\nexcept:\n    g()',
    ],
)
def test_what_is_forbidden_is_seen(line):
    assert len(text_faults(ast.parse(line))) == 1


def test_an_assert_is_seen():
    assert asserts(ast.parse('def f(x):\n    assert x')) == [2]
