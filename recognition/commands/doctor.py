"""Print what is installed for this package, what does not go together, and the command that mends it."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.util import find_spec
from typing import List, NamedTuple, Optional, Sequence

from config.compat import INSTALL_MXNET, MXNET, how_to_get_mxnet
from recognition.cli.parser import Parser, command_parser
from recognition.utils.environment import package_version
from recognition.utils.packages import install_command

OLDEST_PYTHON, NEWEST_PYTHON = (3, 9), (3, 13)  # that the tests run on
OLDEST_NUMPY = (1, 23)
SYSTEM_LIBRARIES = ('libgomp', 'libquadmath')
INSTALL_LIBRARIES = 'apt install libgomp1 libquadmath0'
ARM_LIBRARIES = ('libarmpl', 'libamath', 'libastring')  # Arm's own, for which Debian's stand in
INSTALL_ARM_LIBRARIES = (
    'apt install libopenblas0-pthread liblapacke libgomp1 && cd {folder} && L=/usr/lib/aarch64-linux-gnu && '
    'ln -s $L/openblas-pthread/libopenblas.so.0 libarmpl_lp64_mp.so && ln -s $L/liblapacke.so.3 libastring.so && '
    'ln -s $L/libm.so.6 libamath.so'
)
SECONDS = 60.0  # that an import may take


class Package(NamedTuple):
    """An optional package: its module ('': a program), its name on PyPI, and the extra that brings it."""

    module: str
    name: str
    extra: str


PACKAGES = (
    Package('cv2', 'opencv-python-headless', 'images'),
    Package('matplotlib.figure', 'matplotlib', 'train'),
    Package('tensorboardX', 'tensorboardX', 'train'),
    Package('rich', 'rich', 'audit'),
    Package('', 'graphviz-pure', 'plot'),
    Package('reportlab', 'reportlab', 'plot'),
    Package('h5py', 'h5py', 'keras'),
    Package('onnx', 'onnx', 'onnx'),
    Package('onnxruntime', 'onnxruntime', 'onnx'),
    Package('openvino', 'openvino', 'openvino'),
    Package('ncnn', 'ncnn', 'ncnn'),
    Package('pyarrow.parquet', 'pyarrow', 'embed'),
    Package('safetensors.numpy', 'safetensors', 'embed'),
    Package('faiss', 'faiss-cpu', 'search'),
)


class Finding(NamedTuple):
    """A line of the report; problem: what is wrong and how to mend it, '' where nothing is."""

    subject: str
    words: str
    problem: str = ''


def build_parser() -> Parser:
    """Return the parser of the command line."""
    return command_parser('doctor', __doc__)


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Print the report; status 1 where something must be mended."""
    build_parser().parse_args(argv)
    found = [python(), numpy(), mxnet(), *map(optional, PACKAGES)]
    for subject, words, _ in found:
        print(f'{subject:24}{words}')
    problems = [finding for finding in found if finding.problem]
    for subject, _, problem in problems:
        print(f'\n{subject}: {problem}')
    return 1 if problems else None


def python() -> Finding:
    """Report on the interpreter and its machine."""
    words = f'{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.executable}'
    tried = OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON
    problem = (
        '' if tried else 'tried are Python 3.9 to 3.13 alone; make takes another one as PYTHON=python3.13'
    )
    return Finding('python', words, problem)


def numpy() -> Finding:
    """Report on numpy."""
    version = package_version('numpy') or ''
    old = tuple(map(int, version.split('.')[:2])) < OLDEST_NUMPY
    return Finding('numpy', version, "it is older than 1.23: pip install -U 'numpy>=1.23'" if old else '')


def mxnet() -> Finding:
    """Report on mxnet, which is imported in a process of its own."""
    spec = find_spec('mxnet')
    if spec is None:
        return Finding('mxnet', 'not installed', how_to_get_mxnet())
    said = _import_error('recognition, mxnet')  # the one prepares the other
    version = package_version('mxnet') or '?'
    if not said:
        return Finding('mxnet', version)
    if any(library in said for library in ARM_LIBRARIES):
        (folder,) = spec.submodule_search_locations or ('.',)
        mend = INSTALL_ARM_LIBRARIES.format(folder=folder)
        problem = f'a library of the Arm Performance Libraries is missing, others do ({said}): {mend} (Debian, Ubuntu)'
    elif any(library in said for library in SYSTEM_LIBRARIES):
        problem = f'a system library is missing ({said}): {INSTALL_LIBRARIES} (Debian, Ubuntu)'
    elif version != MXNET:
        problem = f'{version} does not work here ({said}): {INSTALL_MXNET}'
    else:
        problem = f'it cannot be imported: {said}'
    return Finding('mxnet', version, problem)


def optional(package: Package) -> Finding:
    """Report on a package of an extra, which is imported in a process of its own."""
    version = package_version(package.name)
    if version is None:
        return Finding(package.name, f'not installed: {install_command(package.extra)}')
    said = _import_error(package.module) if package.module else ''
    if not said:
        return Finding(package.name, version)
    return Finding(package.name, version, f'it cannot be imported ({said}): pip install -U {package.name}')


def _import_error(module: str) -> str:
    """Return the last line of the error that an import ends with, '' where it succeeds."""
    command = [sys.executable, '-W', 'ignore', '-c', f'import {module}']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f'no end after {SECONDS:.0f} s'
    lines: List[str] = done.stderr.strip().splitlines()
    if done.returncode == 0:
        return ''
    return lines[-1] if lines else f'the process ended with status {done.returncode}'
