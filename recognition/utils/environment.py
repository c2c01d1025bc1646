"""Where a run takes place: versions, devices, the machine and the state of the source."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

OPENCV = tuple(
    f'opencv{parts}'
    for parts in ('-python-headless', '-python', '-contrib-python-headless', '-contrib-python')
)
PACKAGES = ('facesymbols', 'mxnet', 'numpy', *OPENCV)
VARIABLES = ('OMP_', 'MXNET_', 'DMLC_', 'CUDA_')  # beginnings of the environment variables that are noted
SECONDS = 5.0  # that git may take


def environment(seed: int, contexts: Sequence[Any], workers: int) -> Dict[str, Any]:
    """Return what a run should be known by, as values that JSON can hold.

    contexts: mxnet's devices. workers: how many train together.
    """
    return {
        'started': now(),
        'command': sys.argv,
        'folder': os.getcwd(),
        'seed': seed,
        'devices': [str(context) for context in contexts],
        'workers': workers,
        'python': platform.python_version(),
        'packages': {name: found for name in PACKAGES if (found := package_version(name))},
        'system': platform.platform(),
        'processor': processor(),
        'cores': os.cpu_count(),
        'variables': {key: value for key, value in os.environ.items() if key.startswith(VARIABLES)},
        'git': git_state(Path(__file__).parent) or git_state(Path.cwd()),
    }


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601 has it."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def processor() -> str:
    """Return the name of the processor."""
    lines = []
    with suppress(OSError):
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())  # ARM's Linux has no model name


def git_state(folder: Path) -> Optional[Dict[str, Any]]:
    """Return the commit of the git tree that a folder is in, and whether files differ from it; None outside of one."""
    commit = _git(folder, 'rev-parse', 'HEAD')
    if commit is None:
        return None
    return {'commit': commit, 'changed': bool(_git(folder, 'status', '--porcelain', '--untracked-files=no'))}


def _git(folder: Path, *words: str) -> Optional[str]:
    try:
        done = subprocess.run(
            ['git', '-C', str(folder), *words], capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def package_version(package: str) -> Optional[str]:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
