"""Everything that trains, measures or ships a network.

Importing the package prepares numpy and the environment for mxnet and nothing else, so that a worker process that only
decodes images need not load mxnet.
"""

import sys
from pathlib import Path
from runpy import run_path

PROGRAMS = (
    'facesymbols',
    '-m',
)  # the beginning of the command line while this is imported as a program's package

try:
    # By its path, since importing `symbols` loads mxnet.
    run_path(str(Path(__file__).parents[1] / 'symbols' / 'shadowed_config.py'))['check_packages']()

    from config.compat import prepare_mxnet

    prepare_mxnet()
except ImportError as error:
    if Path(sys.argv[0]).stem not in PROGRAMS:
        raise
    if error.name in ('config', 'symbols'):
        raise SystemExit(f'error: {error}') from None
    if isinstance(error, ModuleNotFoundError):
        raise SystemExit(f'error: the package {error.name} is missing: pip install {error.name}') from None
    raise SystemExit('error: numpy cannot be imported: pip install --force-reinstall numpy') from None

__all__ = ()
