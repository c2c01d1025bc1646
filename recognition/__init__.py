"""Everything that trains, measures or ships a network.

Importing the package prepares numpy and the environment for mxnet and nothing else, so that a worker process that only
decodes images need not load mxnet.
"""

from pathlib import Path
from runpy import run_path

# By its path, since importing `symbols` loads mxnet.
run_path(str(Path(__file__).parents[1] / 'symbols' / 'shadowed_config.py'))['check_config']()

from config.compat import prepare_mxnet  # noqa: E402

prepare_mxnet()

__all__ = ()
