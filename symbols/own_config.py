"""Make sure that `config` is the package beside `symbols`, and not a script's config.py or another package.

Nothing here imports more than the standard library until that is known. `recognition` runs this file by its path,
since importing `symbols` loads mxnet.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Optional

OURS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'config')


def check_config() -> None:
    """Raise ImportError, saying which file to remove or rename, where `import config` would give another module."""
    found = find_config()
    if found is None:
        return  # the import that follows says so
    if os.path.realpath(found) != os.path.realpath(OURS):
        raise ImportError(
            f"{found} hides facesymbols' own package config, which has the names and keys of InsightFace's config.py: "
            'remove the one that hides it (uninstall it, if pip installed it), or rename it, to my_config say, '
            'and pass its object: get_symbol(my_config.config)',
            name='config',
            path=found,
        )
    if not hasattr(import_module('config'), 'generate_config'):
        raise ImportError(
            f"{found} was facesymbols' own package config, and another package of that name is installed over it: "
            'uninstall that one, and install facesymbols again',
            name='config',
            path=found,
        )


def find_config() -> Optional[str]:
    """Return the file of the module, or the folder of the package, that `import config` gives, without running it."""
    loaded = sys.modules.get('config')
    if loaded is not None:
        folders = getattr(loaded, '__path__', None)
        file = getattr(loaded, '__file__', None) or repr(loaded)
    else:
        spec = find_spec('config')
        if spec is None:
            return None
        folders, file = spec.submodule_search_locations, spec.origin
    return next(iter(folders)) if folders else file
