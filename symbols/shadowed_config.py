"""Make sure that `config` and `symbols` are the packages side by side, and not a script's config.py or another package.

Nothing here imports more than the standard library until that is known. `recognition` runs this file by its path,
since importing `symbols` loads mxnet.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Optional

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def check_packages() -> None:
    """Raise ImportError, saying which file to remove or rename, where an import would give another module."""
    _check_config(find_module('config'))
    found = find_module('symbols')
    if found is not None and not _is_ours(found, 'symbols'):
        raise ImportError(
            f'{found} hides the package symbols of facesymbols: remove or rename it (uninstall it if pip installed it)',
            name='symbols',
            path=found,
        )


def _is_ours(found: str, name: str) -> bool:
    return os.path.realpath(found) == os.path.realpath(os.path.join(ROOT, name))


def _check_config(found: Optional[str]) -> None:
    if found is None:
        return  # the import that follows says so
    if not _is_ours(found, 'config'):
        raise ImportError(
            f"{found} hides the package config of facesymbols, which has the same names and keys as InsightFace's "
            f'config.py: remove that {os.path.basename(found)} (uninstall it if pip installed it), or rename it to '
            'my_config, for example, and pass its object: get_symbol(my_config.config)',
            name='config',
            path=found,
        )
    if not hasattr(import_module('config'), 'generate_config'):
        raise ImportError(
            f'{found} was the package config of facesymbols, and another package of that name was installed over it: '
            'uninstall that package, then install facesymbols again',
            name='config',
            path=found,
        )


def find_module(name: str) -> Optional[str]:
    """Return the file of the module, or the folder of the package, that an import gives, without running it."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        folders = getattr(loaded, '__path__', None)
        file = getattr(loaded, '__file__', None) or repr(loaded)
    else:
        spec = find_spec(name)
        if spec is None:
            return None
        folders, file = spec.submodule_search_locations, spec.origin
    return next(iter(folders)) if folders else file
