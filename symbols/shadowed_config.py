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
