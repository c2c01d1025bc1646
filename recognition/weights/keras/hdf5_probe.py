"""Whether the HDF5 library survives a file: on some damaged ones it crashes, or reads for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Union

from config.errors import CheckpointError
from recognition.utils.files import PathLike

SECONDS = 8  # of computing; the structure of a large network takes less than one
PATIENCE = 120  # seconds without computing, or on a machine that does much else
OUT_OF_TIME = -getattr(signal, 'SIGXCPU', 1 << 20)  # the status of a process that has computed for so long

# Limits how long the process computes, where the system has such limits.
LIMIT = """
from contextlib import suppress

with suppress(ImportError):
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, ({0}, {0} + 1))
"""
# Reads the structure and every attribute, but no values. Mistakes that h5py finds are left to whoever reads the file.
PROBE = """
import io, sys

with suppress(Exception):
    import h5py

    def look(name, item):
        for attribute in item.attrs:
            with suppress(Exception):
                item.attrs[attribute]

    with h5py.File(sys.argv[1] if len(sys.argv) > 1 else io.BytesIO(sys.stdin.buffer.read()), 'r') as file:
        look('', file)
        file.visititems(look)
"""


def check_hdf5(source: Union[PathLike, bytes], name: PathLike) -> None:
    """Raise CheckpointError, naming the file `name`, where a process that reads the structure of it crashes or hangs.

    `source` is a path or the content of a file.
    """
    command, content = [sys.executable, '-c', LIMIT.format(SECONDS) + PROBE], None
    if isinstance(source, bytes):
        content = source
    else:
        command.append(os.fspath(source))
    try:
        code = subprocess.run(command, input=content, timeout=PATIENCE, capture_output=True).returncode
    except subprocess.TimeoutExpired:
        code = OUT_OF_TIME
    if code == OUT_OF_TIME:
        raise CheckpointError(f'{name} is damaged: HDF5 does not come to an end with it')
    if code < 0:
        raise CheckpointError(f'{name} is damaged: HDF5 crashes on it')
