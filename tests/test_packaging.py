"""What is installed, and at which versions."""

from __future__ import annotations

import importlib.metadata
import re
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
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('config', 'symbols', 'recognition')
PYTHONS = ('3.9', '3.10', '3.11', '3.12')
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
    # setuptools, which stands in for distutils on Python 3.12, has a .pth file of its own, which is not read from there
    distutils = (
        "import os; os.path.isdir({0!r} + '/_distutils_hack') and __import__('_distutils_hack').add_shim()"
    )
    here = sysconfig.get_path('purelib')
    (packages / 'dependencies.pth').write_text(f'{here}\n{distutils.format(here)}\n')
    return folder / 'bin' / 'python'


@pytest.fixture(scope='module')
def metadata(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith('.dist-info/METADATA')]
    return Parser().parsestr(wheel.read(name).decode())


@pytest.fixture(scope='module')
def pins():
    """Every line of constraints.txt as a Requirement."""
    lines = (line.partition('#')[0].strip() for line in (ROOT / 'constraints.txt').read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def applying(requirements, python, extra=''):
    """Return {name: requirement} of what holds for that Python on Linux, and fail when a name has two."""
    environment = {'python_version': python, 'python_full_version': f'{python}.0', 'extra': extra}
    found = {}
    for requirement in requirements:
        if requirement.marker is None or requirement.marker.evaluate(environment):
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
    assert set(metadata['Requires-Python'].split(',')) == {'>=3.9', '<3.13'}
    assert set(metadata.get_all('Provides-Extra')) == EXTRAS


def test_a_plain_install_asks_for_little(metadata):
    required = [Requirement(text) for text in metadata.get_all('Requires-Dist')]
    assert set(applying(required, '3.9')) == {'mxnet', 'numpy', 'easydict', 'graphviz'}
    assert set(applying(required, '3.12')) == {'mxnet', 'numpy', 'easydict', 'graphviz', 'setuptools'}


@pytest.mark.parametrize('python', PYTHONS)
def test_what_is_asked_for_is_pinned_to_a_version_that_satisfies_it(metadata, pins, python):
    pinned = applying(pins, python)
    required = [Requirement(text) for text in metadata.get_all('Requires-Dist')]
    asked = [
        r
        for r in required
        if r.marker is None
        or any(r.marker.evaluate({'python_version': python, 'extra': extra}) for extra in EXTRAS)
    ]
    assert len({r.name for r in asked}) > 25
    for requirement in asked:
        (pin,) = pinned[canonicalize_name(requirement.name)].specifier
        assert pin.operator == '=='
        assert requirement.specifier.contains(pin.version), f'{requirement} against {pin}'


def test_the_pins_are_exact_and_keep_numpy_below_2(pins):
    assert all(re.fullmatch(r'==[0-9][0-9a-z.]*', str(pin.specifier)) for pin in pins)
    versions = {python: str(applying(pins, python)['numpy'].specifier) for python in PYTHONS}
    assert versions == {'3.9': '==1.23.5', '3.10': '==1.23.5', '3.11': '==1.23.5', '3.12': '==1.26.4'}


@pytest.mark.parametrize('python', PYTHONS)
def test_a_pin_is_of_a_release_that_runs_on_that_python(pins, python):
    """Ask the installed packages, where the pinned release is the installed one."""
    installed = {canonicalize_name(each.name): each for each in importlib.metadata.distributions()}
    held = {
        name: installed[name]
        for name, pin in applying(pins, python).items()
        if name in installed and pin.specifier.contains(installed[name].version)
    }
    assert len(held) > 20
    runs_on = {name: each.metadata['Requires-Python'] or '' for name, each in held.items()}
    assert [name for name, text in runs_on.items() if not SpecifierSet(text).contains(f'{python}.9')] == []


def test_whatever_comes_along_is_pinned_too(metadata, pins):
    """Follow the requirements of the installed packages: an unpinned one would change under us."""
    python = '{}.{}'.format(*sys.version_info)
    pinned = applying(pins, python)
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
