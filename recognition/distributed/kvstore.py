"""The devices and processes that train together, and what they add up: gradients, statistics, words between them.

One process adds over its own devices; several, started by `facesymbols launch` or anything else that sets MXNet's
DMLC_* variables, add over all devices of all of them through MXNet's parameter server. The optimizer is not the
server's: every worker makes the same update to its own copy, so that what it remembers can be saved, and resumed
exactly.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence, Set

import numpy as np

from config.errors import ConfigError
from recognition.distributed.job_plan import ROLE, WORKER, in_a_job

import mxnet as mx
from mxnet import gluon

NEEDED = ('DMLC_PS_ROOT_URI', 'DMLC_PS_ROOT_PORT', 'DMLC_NUM_WORKER', 'DMLC_NUM_SERVER')
DISTRIBUTED = ('dist_sync', 'dist_device_sync')  # what a worker makes of 'local' and 'device' is the first
WORDS = 'words'  # the key of the numbers that the workers tell each other


class KVStoreGroup:
    """This process among those that train together: `rank` of `size`, each with `devices` devices.

    kvstore: the config's; in a job of several workers 'local' and 'device' mean 'dist_sync'. Raises ConfigError for
    a kind that cannot be used: dist_... without DMLC_* variables, or dist_async, whose updates the server makes in
    whatever order they come, so that no run could be repeated or resumed.
    """

    def __init__(self, kvstore: str, contexts: Sequence[mx.Context]) -> None:
        self.devices, self._context = len(contexts), contexts[0]
        kind = _kind(kvstore)
        self.rank, self.size = 0, 1
        self._store: Any = None
        if kind in DISTRIBUTED or self.devices > 1:
            self._store = mx.kv.create(kind)
            self.rank, self.size = self._store.rank, self._store.num_workers
        self._known: Set[str] = set()

    @property
    def leads(self) -> bool:
        """Whether this is the worker that logs, verifies and saves."""
        return self.rank == 0

    def broadcast(self, parameters: Dict[str, gluon.Parameter]) -> None:
        """Give every worker the values that worker 0 has, before the first forward pass."""
        if self._store is None or self.size == 1:
            return
        for name, parameter in parameters.items():
            self._init(name, parameter.data(self._context))
            self._store.pull(name, out=parameter.list_data())
        mx.nd.waitall()

    def add_gradients(self, parameters: Dict[str, gluon.Parameter]) -> None:
        """Put in place of each gradient its sum over all devices of all workers."""
        if self._store is None:
            return
        for order, (name, parameter) in enumerate(parameters.items()):
            if parameter.grad_req != 'null':
                self._add(name, parameter.list_grad(), -order)  # those of the last layers are there first

    def average(self, arrays: Dict[str, List[mx.nd.NDArray]]) -> None:
        """Put in place of each array, a moving statistic say, its mean over all workers and all its copies here."""
        if self._store is None:
            return
        for name, copies in arrays.items():
            self._add(name, copies, 0)
            for copy in copies:
                copy /= self.size * len(copies)

    def total(self, numbers: Sequence[float]) -> np.ndarray:
        """Return the sums of a few numbers over all workers; all have to call this, in the same order."""
        own = np.array(numbers, np.float64)
        if self._store is None or self.size == 1:
            return own
        told = mx.nd.array(own, self._context, dtype=np.float32)
        self._add(f'{WORDS}{len(own)}', [told], 0)
        return told.asnumpy().astype(np.float64)

    def gather(self, name: str, own: mx.nd.NDArray) -> mx.nd.NDArray:
        """Return (workers, ...), the arrays of one shape that all workers give; all have to call this, in one order."""
        if self.size == 1:
            return own.reshape((1, *own.shape))
        together = mx.nd.zeros((self.size, *own.shape), own.context, dtype=own.dtype)
        together[self.rank] = own
        return self.add(name, together)

    def add(self, name: str, own: mx.nd.NDArray) -> mx.nd.NDArray:
        """Put the sum over all workers in the place of an array, and return it; all have to call this, in one order."""
        if self.size > 1:
            self._add(f'{name}{own.shape}', [own], 0)
        return own

    def _add(self, name: str, arrays: List[mx.nd.NDArray], priority: int) -> None:
        self._init(name, arrays[0])
        self._store.push(name, arrays, priority=priority)
        self._store.pull(name, out=arrays, priority=priority)

    def _init(self, name: str, array: mx.nd.NDArray) -> None:
        if name not in self._known:
            self._store.init(name, array)
            self._known.add(name)


def check_environment() -> None:
    """Raise ConfigError for DMLC_* variables with which mxnet would wait for ever, or end the process."""
    role = os.environ.get(ROLE)
    if role is None:
        return
    if role != WORKER:
        raise ConfigError(
            f'{ROLE}={role!r}: a training process is a {WORKER}; MXNet itself makes the others of '
            "python -c 'import symbols'"
        )
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f'{ROLE}={role!r} is set and {missing[0]} is not; a worker needs {", ".join(NEEDED)}'
        )
    for name in NEEDED[1:]:
        if not os.environ[name].isdecimal() or int(os.environ[name]) < 1:
            raise ConfigError(f'{name}={os.environ[name]!r} must be a whole number of at least 1')


def _kind(kvstore: str) -> str:
    check_environment()
    if kvstore == 'dist_async':
        raise ConfigError(
            "kvstore='dist_async' makes its updates in the order in which they come, so that no run can be repeated "
            f'or resumed exactly; it must be {" or ".join(DISTRIBUTED)}'
        )
    if in_a_job():
        return kvstore if kvstore in DISTRIBUTED else DISTRIBUTED[0]
    if kvstore in DISTRIBUTED:
        raise ConfigError(
            f'kvstore={kvstore!r} is for a worker of several, and {ROLE} is not set; start them with '
            'facesymbols launch -n 2 -s 1 -- facesymbols train ...'
        )
    return kvstore
