"""The syntax trees of the project's files, and who imports whom."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Dict, Iterator, Set, Tuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ('config', 'symbols', 'recognition')  # each may import itself and those before it
PROGRAMS = ('tools', 'examples')  # run as files, too, so that one may not import another
TREES = {
    path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.'): ast.parse(path.read_text('utf-8'))
    for package in (*PACKAGES, *PROGRAMS)
    for path in sorted((ROOT / package).rglob('*.py'))
}
TESTS = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text('utf-8'))
    for path in sorted((ROOT / 'tests').rglob('*.py'))
}


def imports(tree: ast.AST) -> Iterator[Tuple[str, str]]:
    """Yield (module, name) for every import, at any depth; the name is '' for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ''
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield '.' * node.level + (node.module or ''), alias.name


def imported_modules(tree: ast.AST) -> Set[str]:
    """Return the modules of the project that a tree imports; `from symbols import heads` counts for heads."""
    found = set()
    for module, name in imports(tree):
        inner = f'{module}.{name}'
        for candidate in (inner, f'{module}.__init__', module):
            if candidate in TREES:
                found.add(candidate)
                break
    return found


IMPORTED: Dict[str, Set[str]] = {module: imported_modules(tree) for module, tree in TREES.items()}


def reachable(module: str) -> Set[str]:
    """Return every module of the project that importing `module` may load, by way of whatever it imports."""
    seen: Set[str] = set()
    waiting = [module]
    while waiting:
        for found in IMPORTED[waiting.pop()] - seen:
            seen.add(found)
            waiting.append(found)
    return seen
