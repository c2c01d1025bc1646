"""The number of threads that MXNet computes with: it settles that once, when it is imported."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Optional

logger = logging.getLogger(__name__)

VARIABLE = 'OMP_NUM_THREADS'
_settled: Optional[int] = None  # what mxnet was imported with here


def settle_threads(threads: Optional[int]) -> None:
    """Import mxnet so that it computes with that many threads, unless it is imported already; None changes nothing.

    The environment is afterwards as it was, for the processes that this one starts.
    """
    global _settled
    if threads is None or 'mxnet' in sys.modules:
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(threads)
    try:
        importlib.import_module('mxnet')
        _settled = threads
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def warn_of_threads(threads: Optional[int]) -> None:
    """Warn where MXNet was imported before it could be given that many threads."""
    settled = os.environ.get(VARIABLE) if _settled is None else str(_settled)
    if threads is not None and settled != str(threads):
        logger.warning(
            'threads=%d has no effect on MXNet, which is imported already: load the embedder before mxnet is imported, '
            'or set %s=%d before',
            threads,
            VARIABLE,
            threads,
        )
