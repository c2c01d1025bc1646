"""Let mxnet 1.9.1 work with this Python's numpy; keep mxnet from crashing.

mxnet's oneDNN keeps what it compiled in a cache for the whole process, which takes a batch norm on (N, C, 1, 1) and one
on (N, C) with the same eps for the same, and then ends the process without a message: a GDC head with emb_size equal to
the map's width does it, and so may two networks in one process. The cache is read once, at the first operator.

mxnet takes half of an x86 processor's threads, as if each core had two of them. On the many virtual machines whose
cores have one, half of the machine stood idle.

On ARM with vectors of 512 bits (A64FX) the oneDNN of mxnet's wheel gave wrong gradients of depthwise convolutions with
stride 2, by up to a fifth; it is right with other lengths and without SVE. mxnet does without oneDNN there.
"""

from __future__ import annotations

import ctypes
import os
import platform
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from config import mxnet_numpy
from config.errors import MissingExtra

ONEDNN_CACHE = 'DNNL_PRIMITIVE_CACHE_CAPACITY'  # oneDNN's own environment variable; 1024 is its default
ONEDNN = 'MXNET_MKLDNN_ENABLED'  # whether mxnet uses it
SCRATCH = 'MXNET_CPU_TEMP_COPY'  # pieces of scratch memory, each as large as any operator wants it: 4
TELLS_OF_FUSING = 'MXNET_SUBGRAPH_VERBOSE'  # a line on standard error for each network that is bound
TELLS_OF_FALLBACK = 'MXNET_STORAGE_FALLBACK_LOG_VERBOSE'  # without oneDNN, some lines for each operator
THREADS = 'MXNET_OMP_MAX_THREADS'  # mxnet's alone: other libraries keep their own counsel
OPENMP = 'OMP_NUM_THREADS'  # the user's word for all libraries, which mxnet follows as it is
CORES = Path('/sys/devices/system/cpu')  # what Linux says of them
VECTOR_LENGTH, WRONG_LENGTH = 51, 64  # prctl's PR_SVE_GET_VL, and bytes
MXNET = '1.9.1'
INSTALL_MXNET = f'pip install --no-deps mxnet=={MXNET}'
WHEELS = {('Linux', 'x86_64'), ('Linux', 'aarch64'), ('Darwin', 'x86_64')}


def prepare_mxnet() -> None:
    """Prepare mxnet's numpy, and set mxnet up: a thread for each core, one piece of scratch memory, no cache, no talk.

    Settings that the environment has already stay. mxnet reads them when it is imported.

    mxnet has caches of its own: networks of full width train and embed as fast without it, within measurement; a
    batch of one image of a very narrow one took up to 1.7 times as long.
    """
    mxnet_numpy.install()
    os.environ.setdefault(ONEDNN_CACHE, '0')
    os.environ.setdefault(TELLS_OF_FUSING, '0')
    os.environ.setdefault(SCRATCH, '1')
    if has_wrong_onednn():
        os.environ.setdefault(ONEDNN, '0')
        os.environ.setdefault(TELLS_OF_FALLBACK, '0')
    if OPENMP not in os.environ:
        os.environ.setdefault(THREADS, str(physical_cores()))


def load_mxnet() -> None:
    """Prepare mxnet and import it; MissingExtra, with what to do, where it is not installed or cannot be loaded."""
    prepare_mxnet()
    check_installed()
    try:
        import_module('mxnet')
    except ModuleNotFoundError as error:
        raise MissingExtra(f'mxnet needs the package {error.name}: pip install {error.name}') from error
    except (OSError, RuntimeError) as error:  # its library, or one that it needs, is missing
        said = str(error).partition('\n')[0]
        raise MissingExtra(
            f'mxnet cannot be loaded ({said}): `facesymbols doctor` has what to install'
        ) from error


def check_installed() -> None:
    """Raise MissingExtra, with what to do, where mxnet is not installed."""
    if find_spec('mxnet') is None:
        raise MissingExtra(f'mxnet is not installed: {how_to_get_mxnet()}')


def how_to_get_mxnet() -> str:
    """Return the command that installs mxnet here, or that there is none."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) in WHEELS:
        return INSTALL_MXNET
    return (
        f'mxnet {MXNET} has no wheel for {system} on {machine}; records, verification, galleries and networks in ONNX '
        'do without it'
    )


def has_wrong_onednn() -> bool:
    """Return whether this is an ARM processor whose vectors have the length with which oneDNN computes wrongly."""
    if (platform.system(), platform.machine()) != ('Linux', 'aarch64'):
        return False
    length = int(ctypes.CDLL(None).prctl(VECTOR_LENGTH, 0, 0, 0, 0))  # -1 without SVE
    return length > 0 and length & 0xFFFF == WRONG_LENGTH


def physical_cores(cores: Path = CORES) -> int:
    """Return on how many cores this process may run, a core with several hardware threads counted once.

    Where the system does not say which threads share a core, each counts as one; macOS and Windows do not say either
    on which this process may run.
    """
    siblings = set()
    usable = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else range(os.cpu_count() or 1)
    for number in usable:
        try:
            siblings.add((cores / f'cpu{number}' / 'topology' / 'thread_siblings_list').read_text())
        except OSError:
            siblings.add(str(number))
    return len(siblings)
