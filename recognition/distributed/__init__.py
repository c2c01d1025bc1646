"""Training on several devices, processes and machines: MXNet's key-value store, and the launcher of a job."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recognition.distributed.job_plan import Plan
    from recognition.distributed.kvstore import KVStoreGroup
    from recognition.distributed.launcher import Job

__all__ = ['Job', 'KVStoreGroup', 'Plan']

# Imported when they are asked for: the store needs mxnet, the launcher does not, and `remote` is run as a program.
_FILES = {'Job': 'launcher', 'Plan': 'job_plan', 'KVStoreGroup': 'kvstore'}


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f'{__name__}.{_FILES[name]}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
