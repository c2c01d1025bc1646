"""Make this Python's numpy fit for mxnet 1.9.1, or say in one sentence what to install; keep mxnet from crashing.

mxnet 1.9.1 uses `np.bool` and `np.int`, which numpy removed in 1.24, and cannot work with numpy 2. Python 3.12 has
no older numpy than 1.26, so there the two aliases are put back before mxnet is imported.

mxnet's oneDNN keeps what it compiled in a cache for the whole process, which takes a batch norm on (N, C, 1, 1) and one
on (N, C) with the same eps for the same, and then ends the process without a message: a GDC head with emb_size equal to
the map's width does it, and so may two networks in one process. The cache is read once, at the first operator.

mxnet takes half of an x86 processor's threads, as if each core had two of them. On the many virtual machines whose
cores have one, half of the machine stood idle.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import numpy as np

ONEDNN_CACHE = 'DNNL_PRIMITIVE_CACHE_CAPACITY'  # oneDNN's own environment variable; 1024 is its default
SCRATCH = 'MXNET_CPU_TEMP_COPY'  # pieces of scratch memory, each as large as any operator wants it: 4
TELLS_OF_FUSING = 'MXNET_SUBGRAPH_VERBOSE'  # a line on standard error for each network that is bound
THREADS = 'MXNET_OMP_MAX_THREADS'  # mxnet's alone: other libraries keep their own counsel
OPENMP = 'OMP_NUM_THREADS'  # the user's word for all libraries, which mxnet follows as it is
CORES = Path('/sys/devices/system/cpu')  # what Linux says of them
ALIASES = {'bool': bool, 'int': int, 'float': float, 'object': object}


def wanted_numpy() -> str:
    """Return the numpy version that goes with mxnet 1.9.1 on this Python."""
    return '1.26.4' if sys.version_info >= (3, 12) else '1.23.5'


def prepare_mxnet() -> None:
    """Prepare numpy, and set mxnet up: a thread for each core, one piece of scratch memory, no cache, no talk.

    Settings that the environment has already stay. mxnet reads them when it is imported.

    mxnet has caches of its own: networks of full width train and embed as fast without it, within measurement; a
    batch of one image of a very narrow one took up to 1.7 times as long. Raises ImportError as prepare_numpy does.
    """
    prepare_numpy()
    os.environ.setdefault(ONEDNN_CACHE, '0')
    os.environ.setdefault(TELLS_OF_FUSING, '0')
    os.environ.setdefault(SCRATCH, '1')
    if OPENMP not in os.environ:
        os.environ.setdefault(THREADS, str(physical_cores()))


def physical_cores(cores: Path = CORES) -> int:
    """Return on how many cores this process may run, a core with several hardware threads counted once.

    Where the system does not say which threads share a core, each counts as one.
    """
    siblings = set()
    for number in os.sched_getaffinity(0):
        try:
            siblings.add((cores / f'cpu{number}' / 'topology' / 'thread_siblings_list').read_text())
        except OSError:
            siblings.add(str(number))
    return len(siblings)


def prepare_numpy() -> None:
    """Put back the numpy aliases that mxnet 1.9.1 needs.

    Raises ImportError, with the command that helps, where this numpy cannot carry mxnet 1.9.1.
    """
    version = tuple(int(part) for part in np.__version__.split('.')[:2])
    if version >= (2, 0) or (version >= (1, 24) and sys.version_info < (3, 12)):
        raise ImportError(
            f'mxnet 1.9.1 cannot be imported with numpy {np.__version__}; '
            f"install the one that works here: pip install 'numpy=={wanted_numpy()}'"
        )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # older numpys still have the aliases and warn when one looks
        for name, builtin in ALIASES.items():
            if not hasattr(np, name):
                setattr(np, name, builtin)
