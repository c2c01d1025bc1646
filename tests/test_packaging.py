"""What is installed, and at which versions."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.write_constraints import FOLDER, LOCKS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('config', 'symbols', 'recognition')
HERE = '{}.{}'.format(*sys.version_info)
EXTRAS = {'train', 'audit', 'plot', 'keras', 'onnx', 'demo', 'test', 'dev', 'browser', 'torch', 'all'}
EXTRAS |= {'openvino', 'ncnn', 'pnnx', 'embed', 'search', 'images', 'completion', 'imagenet'}


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The project's wheel, built without network from a copy, since a build leaves folders where it runs."""
    copy, target = tmp_path_factory.mktemp('checkout') / 'copy', tmp_path_factory.mktemp('wheel')
    copy.mkdir()
    for name in ('setup.py', 'pyproject.toml', 'LICENSE'):
        shutil.copy(ROOT / name, copy)
    for name in (*PACKAGES, 'tools', 'tests'):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', 'wheel', '--quiet', '--no-index']
    done = subprocess.run(
        [*pip, '--no-deps', '--no-build-isolation', '-w', target, copy], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (path,) = target.iterdir()
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """Python with the wheel alone; what it depends on is found in this environment, the checkout is not."""
    folder = tmp_path_factory.mktemp('installed') / 'venv'
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob('lib/python*/site-packages')
    wheel.extractall(packages)
    here = sysconfig.get_path('purelib')
    (packages / 'dependencies.pth').write_text(f'{here}\n')
    return folder / 'bin' / 'python'


@pytest.fixture(scope='module')
def metadata(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith('.dist-info/METADATA')]
    return Parser().parsestr(wheel.read(name).decode())


def pins_of(name):
    """Every line of a file of constraints/ as a Requirement."""
    lines = (FOLDER / f'{name}.txt').read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith('#')]


def holds(requirement, environment, extras=('',)):
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**environment, 'extra': extra}) for extra in extras)


def applying(requirements, python, **machine):
    """Return {name: requirement} of what holds for that Python, and fail when a name has two."""
    environment = {'python_version': python, 'python_full_version': f'{python}.0', **machine}
    found = {}
    for requirement in requirements:
        if holds(requirement, environment):
            name = canonicalize_name(requirement.name)
            assert name not in found, f'{name} twice for Python {python}'
            found[name] = requirement
    return found


def test_the_wheel_holds_the_three_packages_whole_and_nothing_else(wheel):
    held = {name for name in wheel.namelist() if '.dist-info/' not in name}
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    assert held == files
    assert any(name.endswith('LICENSE') for name in wheel.namelist())
    (top,) = [name for name in wheel.namelist() if name.endswith('top_level.txt')]
    assert set(wheel.read(top).decode().split()) == set(PACKAGES)


def test_the_wheel_has_the_command(wheel, installed, tmp_path):
    (points,) = [name for name in wheel.namelist() if name.endswith('entry_points.txt')]
    assert 'facesymbols = recognition.commands.main:main' in wheel.read(points).decode()
    words = ['audit', 'r18', '--format', 'csv', '-o', 'audit.csv']
    program = f'from recognition.commands.main import main; main({words})'
    done = subprocess.run(
        [installed, '-W', 'ignore', '-c', program], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert 'pre_fc1' in (tmp_path / 'audit.csv').read_text()


def test_a_users_mypy_sees_the_types(installed, tmp_path):
    (tmp_path / 'script.py').write_text(
        'from config import resolve\nfrom recognition.data import FaceDataset\nfrom symbols import get_symbol\n'
        "faces = FaceDataset('faces')\nreveal_type(faces.read)\nfaces.read('x')\n"
        "get_symbol(resolve('r18'), 'too many')\n"
    )
    command = [
        sys.executable,
        '-m',
        'mypy',
        '--python-executable',
        installed,
        '--no-incremental',
        'script.py',
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert 'missing library stubs' not in done.stdout, done.stdout
    assert 'index: int' in done.stdout or 'builtins.int' in done.stdout
    assert 'Argument 1 to "read" of "FaceDataset" has incompatible type "str"; expected "int"' in done.stdout
    assert 'Too many arguments for "get_symbol"' in done.stdout


def test_metadata(metadata):
    assert (metadata['Name'], metadata['Version']) == ('facesymbols', '0.1.0')
    assert metadata['Requires-Python'] == '>=3.9'
    assert set(metadata.get_all('Provides-Extra')) == EXTRAS


LINUX = {'sys_platform': 'linux', 'platform_machine': 'x86_64'}


@pytest.mark.parametrize(
    ('python', 'machine', 'more'),
    [
        ('3.9', LINUX, {'mxnet'}),
        ('3.12', LINUX, {'mxnet'}),
        ('3.12', {'sys_platform': 'linux', 'platform_machine': 'aarch64'}, {'mxnet'}),
        ('3.11', {'sys_platform': 'darwin', 'platform_machine': 'x86_64'}, {'mxnet'}),
        ('3.11', {'sys_platform': 'darwin', 'platform_machine': 'arm64'}, set()),
        ('3.11', {'sys_platform': 'win32', 'platform_machine': 'AMD64'}, set()),
        ('3.13', LINUX, set()),  # mxnet asks for a numpy that this Python does not have
    ],
)
def test_a_plain_install_asks_for_little_and_for_what_there_is(metadata, python, machine, more):
    required = [Requirement(text) for text in metadata.get_all('Requires-Dist')]
    assert set(applying(required, python, **machine)) == {'numpy', 'easydict', 'graphviz', 'requests', *more}


@pytest.mark.parametrize('name', LOCKS)
def test_what_is_asked_for_is_pinned_to_a_version_that_satisfies_it(metadata, name):
    lock = LOCKS[name]
    environment = {**LINUX, 'python_version': lock.python, 'python_full_version': f'{lock.python}.0'}
    pinned = applying(pins_of(name), lock.python, **LINUX)
    required = [Requirement(text) for text in metadata.get_all('Requires-Dist')]
    asked = [r for r in required if holds(r, environment, ('', *lock.extras))]
    assert len({r.name for r in asked}) > 5
    for requirement in asked:
        if (name, requirement.name) != ('extra', 'mxnet'):  # installed before, without what it asks for
            (pin,) = pinned[canonicalize_name(requirement.name)].specifier
            assert pin.operator == '=='
            assert requirement.specifier.contains(pin.version), f'{requirement} against {pin}'


def test_the_oldest_and_the_newest_numpy(metadata):
    numpy = {
        name: str(applying(pins_of(name), lock.python)['numpy'].specifier) for name, lock in LOCKS.items()
    }
    assert numpy['oldest'] == '==1.23.5'
    assert all(text.startswith('==2.') for name, text in numpy.items() if name != 'oldest')


def test_everything_that_is_installed_together_is_pinned(metadata):
    """Follow the requirements of the installed packages: one that is not pinned would change with time."""
    installed = importlib.metadata.version('numpy')
    name = (
        'oldest'
        if applying(pins_of('oldest'), HERE)['numpy'].specifier.contains(installed)
        else f'python{HERE}'
    )
    pinned = applying(pins_of(name), HERE)
    assert pinned['numpy'].specifier.contains(installed)
    waiting = [(Requirement(text), 'all') for text in metadata.get_all('Requires-Dist')]
    seen, unpinned = set(), set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({'extra': extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in pinned:
            unpinned.add(name)
        for inner_extra in requirement.extras or {''}:
            if (name, inner_extra) not in seen:
                seen.add((name, inner_extra))
                needs = importlib.metadata.requires(name) or []
                waiting += [(Requirement(text), inner_extra) for text in needs]
    assert unpinned == set()
