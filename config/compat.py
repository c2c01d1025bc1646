"""Make this Python's numpy fit for mxnet 1.9.1, or say in one sentence what to install; keep mxnet from crashing.

mxnet 1.9.1 uses `np.bool` and `np.int`, which numpy removed in 1.24, and cannot work with numpy 2. Python 3.12 has
no older numpy than 1.26, so there the two aliases are put back before mxnet is imported.

mxnet's oneDNN keeps what it compiled in a cache for the whole process, which takes a batch norm on (N, C, 1, 1) and one
on (N, C) with the same eps for the same, and then ends the process without a message: a GDC head with emb_size equal to
the map's width does it, and so may two networks in one process. The cache is read once, at the first operator.
"""

from __future__ import annotations

import os
import sys
import warnings

import numpy as np

ONEDNN_CACHE = 'DNNL_PRIMITIVE_CACHE_CAPACITY'  # oneDNN's own environment variable; 1024 is its default
TELLS_OF_FUSING = 'MXNET_SUBGRAPH_VERBOSE'  # a line on standard error for each network that is bound
ALIASES = {'bool': bool, 'int': int, 'float': float, 'object': object}


def wanted_numpy() -> str:
    """Return the numpy version that goes with mxnet 1.9.1 on this Python."""
    return '1.26.4' if sys.version_info >= (3, 12) else '1.23.5'


def prepare_mxnet() -> None:
    """Prepare numpy, and switch oneDNN's cache and mxnet's talk of fusing off unless the environment has settings.

    mxnet has caches of its own: networks of full width train and embed as fast without it, within measurement; a
    batch of one image of a very narrow one took up to 1.7 times as long. Raises ImportError as prepare_numpy does.
    """
    prepare_numpy()
    os.environ.setdefault(ONEDNN_CACHE, '0')
    os.environ.setdefault(TELLS_OF_FUSING, '0')


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
