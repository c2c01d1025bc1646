"""Python on systems that lack something: programs run in a process that begins without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NO_MXNET = """
from importlib.machinery import PathFinder
_found = PathFinder.find_spec
_hidden = ('mxnet', 'graphviz', 'requests')
PathFinder.find_spec = lambda name, *rest: None if name.partition('.')[0] in _hidden else _found(name, *rest)
"""
# What Windows' Python does not have.
NO_LINUX = """
import ctypes, multiprocessing, os, platform, signal, sys
for _module, _names in (
    (os, ('sched_getaffinity', 'pread', 'fork', 'killpg', 'O_CLOEXEC')),
    (signal, ('sigtimedwait', 'pthread_sigmask', 'SIGKILL')),
):
    for _name in _names:
        delattr(_module, _name)
sys.modules.update(fcntl=None, resource=None)
_exists, _library = os.path.exists, ctypes.CDLL
os.path.exists = lambda path: not str(path).startswith('/proc') and _exists(path)
ctypes.CDLL = lambda name, *rest: _library(name + '', *rest)
platform.system = lambda: 'Windows'
"""


def run(program, *words):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': ''},
        capture_output=True,
        text=True,
    )


def command(before, *words):
    """Run `facesymbols`."""
    return run(f'{before}\nfrom recognition.commands.main import main\nmain()', *words)
