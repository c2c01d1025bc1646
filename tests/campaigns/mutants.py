"""Small mistakes planted in the code, of which the tests of the module have to see each.

python -m tests.campaigns.mutants --trials 50 --seed 0 [--room recognition/losses] [--module config/rules.py]

A mistake is another comparison, operator or number, a turned condition, a call left out. It is written into a copy of
the checkout, and a fork of this process, which has mxnet loaded, runs the tests there until the first fails: those of
the module's own file, then those of the room that mention the module, those of its folder within the room, and those
that ROOMS names. right: a test failed. wrong: all passed; each is printed, since some change nothing that can be seen.
hang: a test did not end.
"""

from __future__ import annotations

import ast
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Set, Tuple

from tests.campaigns import table

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120  # seconds of computing for the tests of a mutant, and ten times as many by the clock
MENTIONING = 10  # files of tests at most that are run for a word of the module
OWN = ('config', 'symbols', 'recognition', 'tests')
COPIED = (*OWN, 'tools', 'examples', 'docs')
ROOMS: Dict[
    str, Tuple[str, ...]
] = {  # what is changed, and which tests see it beside those that mention the module
    'config': ('tests/config',),
    'symbols': (
        'tests/symbols/test_layer_names.py',
        'tests/symbols/test_network_inside.py',
        'tests/recognition/reports/test_audit_formats.py',
        'tests/recognition/checkpoint/test_foreign_symbols.py',
    ),
    'recognition/data': ('tests/recognition/data',),
    'recognition/losses': ('tests/recognition/losses',),
    'recognition/optim': ('tests/recognition/optim', 'tests/recognition/training/test_trainer.py'),
    'recognition/classifier': (
        'tests/recognition/classifier',
        'tests/recognition/training/test_trainer.py',
        'tests/recognition/training/test_classes.py',
        'tests/recognition/distributed/test_launcher_training.py',
    ),
    'recognition/checkpoint': (
        'tests/recognition/checkpoint',
        'tests/recognition/training/test_pretrained.py',
    ),
    'recognition/verification': ('tests/recognition/verification',),
}
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Pow: ast.Mult, ast.Mod: ast.FloorDiv, ast.And: ast.Or, ast.Or: ast.And, ast.USub: ast.UAdd,
}  # fmt: skip
UNSEEN = ('logger', 'warnings')  # what is only said


class Mutant(NamedTuple):
    """A change to a file: that number of the changes to that node, in the order of `ast.walk`."""

    path: str
    line: int
    what: str
    node: int
    number: int


def changes(node: ast.AST) -> Iterator[Tuple[str, Callable[[], Any]]]:
    """Give the changes to a node: what it becomes, and a function that makes it so."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = SWAPS[type(operator)]
            yield _swap(operator, other), partial(node.ops.__setitem__, place, other())
    elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp, ast.UnaryOp)) and type(node.op) in SWAPS:
        other = SWAPS[type(node.op)]
        yield _swap(node.op, other), partial(setattr, node, 'op', other())
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = (
            not node.value
            if isinstance(node.value, bool)
            else node.value + 1
            if isinstance(node.value, int)
            else node.value * 2 or 1.0
        )
        yield f'{node.value} -> {value}', partial(setattr, node, 'value', value)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield f'no {ast.unparse(node.value.func)}()', partial(setattr, node, 'value', ast.Constant(None))
    if isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(
        node.test, (ast.Compare, ast.BoolOp)
    ):
        turned = ast.UnaryOp(ast.Not(), node.test)
        yield f'not {ast.unparse(node.test)}', partial(setattr, node, 'test', turned)


def _swap(one: ast.AST, other: type) -> str:
    return f'{type(one).__name__} -> {other.__name__}'


def left_out(tree: ast.AST) -> Set[ast.AST]:
    """Return the nodes that are not changed: of annotations, decorators, messages, and texts."""
    found: List[ast.AST] = []
    for node in ast.walk(tree):
        found += getattr(node, 'decorator_list', [])
        found += [each for each in (getattr(node, name, None) for name in ('annotation', 'returns')) if each]
        said = isinstance(node, ast.Call) and ast.unparse(node.func).partition('.')[0] in UNSEEN
        if said or isinstance(node, (ast.Raise, ast.JoinedStr)):
            found.append(node)
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node).startswith(UNSEEN)
        ):
            found.append(node)
    return {inner for node in found for inner in ast.walk(node)}


def mutants_of(path: str) -> List[Mutant]:
    """Return all changes to a file."""
    tree = ast.parse((ROOT / path).read_text('utf-8'))
    outside = left_out(tree)
    return [
        Mutant(path, getattr(node, 'lineno', 0), what, place, number)
        for place, node in enumerate(ast.walk(tree))
        if node not in outside
        for number, (what, _) in enumerate(changes(node))
    ]


def mutated(mutant: Mutant) -> str:
    """Return the changed source."""
    tree = ast.parse((ROOT / mutant.path).read_text('utf-8'))
    node = list(ast.walk(tree))[mutant.node]
    list(changes(node))[mutant.number][1]()
    return ast.unparse(ast.fix_missing_locations(tree))


def tests_of(path: str, room: str) -> List[str]:
    """Return the files of the tests that are to see a change to a file, the likeliest first."""
    own = Path(path)
    dotted = '.'.join(own.with_suffix('').parts)
    files = sorted(ROOT.glob('tests/**/test_*.py'))
    mirror = ROOT / 'tests' / own.parent
    first = [each for each in files if each.parent == mirror and each.stem.startswith(f'test_{own.stem}')]
    near = [each for each in files if _in(each, f'tests/{room}')]
    named = [each for each in near if dotted in each.read_text('utf-8')]
    beside = [each for each in near if each.parent == mirror != ROOT / 'tests' / room]
    rest = [
        each
        for name in ROOMS[room]
        for each in ([ROOT / name] if name.endswith('.py') else files)
        if _in(each, name)
    ]
    return [
        str(each.relative_to(ROOT)) for each in dict.fromkeys((*first, *named[:MENTIONING], *beside, *rest))
    ]


def _in(path: Path, name: str) -> bool:
    return path == ROOT / name or ROOT / name in path.parents


def run(tests: List[str], folder: Path, limit: int = LIMIT) -> str:
    """Run tests in the copy, in a fork, and return the outcome."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, 2 * limit))
        signal.alarm(10 * limit)
        _run_here(tests, folder, compiled=limit != LIMIT)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return 'hang' if os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGXCPU) else 'crash'
    return 'right' if os.WEXITSTATUS(status) else 'wrong'


def _run_here(tests: List[str], folder: Path, *, compiled: bool) -> None:
    with open(folder / 'log', 'wb') as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    os.chdir(folder)
    sys.dont_write_bytecode = not compiled  # the first run compiles, for all
    for name in [each for each in sys.modules if each.partition('.')[0] in OWN]:
        del sys.modules[name]
    import pytest

    options = ['-q', '-x', '-m', 'not slow and not browser and not torch', '-o', f'pythonpath={folder}']
    status = 1
    try:
        status = int(pytest.main([*options, '-p', 'no:cacheprovider', '-p', 'no:xdist', *tests]))
    finally:
        sys.stdout.flush()
        os._exit(status)


def judge(mutant: Mutant, room: str, folder: Path) -> str:
    """Plant a mutant in the copy, run the tests, and take it out."""
    file = folder / mutant.path
    whole = file.read_bytes()
    file.write_text(mutated(mutant), 'utf-8')
    os.utime(file, (1, mutant.node))  # no compiled file is taken for it
    try:
        return run(tests_of(mutant.path, room), folder)
    finally:
        file.write_bytes(whole)


def chosen(room: str, trials: int, seed: int, module: str) -> List[Mutant]:
    """Return mutants of a room, drawn from all of its files alike."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / room).rglob('*.py'))
    found = [each for path in files if path == module or not module for each in mutants_of(path)]
    return random.Random(f'{seed} {room}').sample(found, min(trials, len(found)))


def main() -> int:
    """Plant mistakes in each room and print the table."""
    parser = table.parser(__doc__, 50)
    parser.add_argument('--room', choices=ROOMS, action='append')
    parser.add_argument('--module', default='')
    args = parser.parse_args()
    import symbols  # noqa: F401  mxnet is loaded once, before all forks

    rows: Dict[str, Counter] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in COPIED:
            shutil.copytree(ROOT / each, folder / each, ignore=shutil.ignore_patterns('__pycache__'))
        for path in (*ROOT.glob('*.toml'), *ROOT.glob('*.md'), *ROOT.glob('setup.py')):
            shutil.copy(path, folder)
        for room in args.room or ROOMS:
            rows[room] = Counter()
            mutants = chosen(room, args.trials, args.seed, args.module)
            tests = list(dict.fromkeys(test for each in mutants for test in tests_of(each.path, room)))
            if run(tests, folder, 10 * LIMIT) != 'wrong':
                sys.exit(f'{room}: a test fails without a mistake\n{(folder / "log").read_text()[-2000:]}')
            for mutant in mutants:
                outcome = judge(mutant, room, folder)
                rows[room][outcome] += 1
                if outcome != 'right':
                    sys.stdout.write(f'{outcome}: {mutant.path}:{mutant.line}: {mutant.what}\n')
                    sys.stdout.flush()
    sys.stdout.write(table.markdown(rows, 'mistakes in') + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
