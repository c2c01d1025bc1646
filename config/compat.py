"""Make this Python's numpy fit for mxnet 1.9.1, or say in one sentence what to install.

mxnet 1.9.1 uses `np.bool` and `np.int`, which numpy removed in 1.24, and cannot work with numpy 2. Python 3.12 has
no older numpy than 1.26, so there the two aliases are put back before mxnet is imported.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np

ALIASES = {'bool': bool, 'int': int, 'float': float, 'object': object}


def wanted_numpy() -> str:
    """Return the numpy version that goes with mxnet 1.9.1 on this Python."""
    return '1.26.4' if sys.version_info >= (3, 12) else '1.23.5'


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
