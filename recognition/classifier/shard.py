"""A part of a classifier: the rows of some identities on one device, of which a step may use a few.

Logits are never there for all identities at once: they are computed for some thousand of them, summed up, and computed
again for their gradient. On a CPU that costs no time, since what is touched stays in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np

from recognition.classifier.class_sampling import sample_classes
from recognition.classifier.sharded_softmax import combine, log_total, summarise
from recognition.losses.factory import build_loss
from recognition.optim.optimizer import build_optimizer, leaves, state_of

import mxnet as mx
from mxnet import autograd
from mxnet.gluon import HybridBlock

CHUNK = 8192  # identities whose logits are there at once
DRAWN = 4096  # identities whose first values are drawn from one seed
SPREAD = 0.01  # of the first weights, as in recognition.losses.margin


@dataclass
class Table:
    """The rows of one parameter, a row for an identity, and what the optimizer remembers of each of them.

    values: (n, width). slots: arrays of that shape. shape: of the values of one identity, (centres, D) say, or ().
    """

    values: mx.nd.NDArray
    slots: List[mx.nd.NDArray]
    shape: Sequence[int]
    gradient: Any = None  # (chosen, width), once there was one

    @property
    def arrays(self) -> List[mx.nd.NDArray]:
        """The values, and then the slots."""
        return [self.values, *self.slots]


class Shard:
    """The rows of the identities [first, last) of the classifier that `cfg` names, on one device.

    `choose`, once a step, says which rows it is about; then, for each part of the step, `forward` and `backward`; at
    last `update`. Rows that were not chosen, and what the optimizer remembers of them, stay as they were to the bit.
    The first values of a row follow from cfg.seed and the identity, however many shards there are.
    """

    def __init__(self, cfg: Any, first: int, last: int, context: mx.Context) -> None:
        self.first, self.last, self.context = first, last, context
        self._cfg, self._rate = cfg, float(cfg['sample_rate'])
        rule = build_loss(cfg)
        self._parameters = {
            name: each for name, each in rule.collect_params().items() if each.grad_req != 'null'
        }
        self.tables = {name: self._table(each.shape) for name, each in self._parameters.items()}
        self._block = lru_cache(maxsize=4)(self._build)  # a remainder has its own size
        self.chosen: Optional[np.ndarray] = None  # rows in ascending order; None: all
        self._indices: Optional[mx.nd.NDArray] = None
        self._count = last - first
        self._fresh = True  # no gradient of this step is there yet
        self._log_totals = np.zeros((0, 0))

    def _table(self, shape: Sequence[int]) -> Table:
        number = self.last - self.first
        own = (int(shape[0]) // int(self._cfg['num_classes']), *shape[1:]) if len(shape) > 1 else ()
        values = mx.nd.zeros((number, int(np.prod(own, dtype=np.int64))), self.context)
        if own:  # a bias begins at 0
            for start, rows in _first_values(self._cfg['seed'], self.first, self.last, values.shape[1]):
                values[start : start + len(rows)] = rows
        state = build_optimizer(self._cfg, [], 0).create_state(0, values)
        return Table(values, list(leaves(state)), own)

    def choose(self, labels: np.ndarray, draw: np.random.Generator) -> None:
        """Choose the rows of a step with these labels (N,), which may be any identities, and forget its gradients."""
        self._fresh = True
        if self._rate == 1.0:
            return
        own = labels[(labels >= self.first) & (labels < self.last)] - self.first
        self.chosen = sample_classes(own, self.last - self.first, self._rate, draw)
        self._indices = mx.nd.array(self.chosen, self.context, dtype=np.int32)
        self._count = len(self.chosen)

    def forward(self, embeddings: mx.nd.NDArray, labels: np.ndarray, states: Mapping[str, Any]) -> Any:
        """Begin to compute the scores of the chosen identities, and return a function that waits for them: (4, N).

        embeddings: (N, D) on this device. labels: (N,), any identities. states: by name, of the classifier.
        """
        positions = self._positions(labels)
        found = []
        for part in self._parts():
            own = self._within(positions, part)
            logits = self._logits(part, embeddings, own, states, self._values(part))
            found.append(summarise(logits, own))
        return lambda: self._collect(found)

    def _collect(self, found: Sequence[mx.nd.NDArray]) -> np.ndarray:
        scores = np.stack([each.asnumpy() for each in found]).astype(np.float64)
        self._log_totals = log_total(scores)
        for part, each in zip(self._parts(), scores):
            rows = each[-1].astype(np.int64) + part.start
            each[-1] = (rows if self.chosen is None else self.chosen[rows]) + self.first
        return combine(scores)

    def backward(
        self,
        embeddings: mx.nd.NDArray,
        labels: np.ndarray,
        states: Mapping[str, Any],
        totals: np.ndarray,
        scale: float,
    ) -> mx.nd.NDArray:
        """Add the gradients of the summed cross-entropy times `scale` to the rows'; return the embeddings' (N, D).

        Called after `forward` with the same arguments. totals: (N,), `log_total` over all identities of all shards.
        """
        positions = self._positions(labels)
        request = 'write' if self._fresh else 'add'
        embeddings = embeddings.copy()
        total = mx.nd.zeros_like(embeddings)
        self._prepare_gradients()
        for part, own_total in zip(self._parts(), self._log_totals):
            own, values = self._within(positions, part), self._values(part)
            slots = [self.tables[name].gradient[part.start : part.stop] for name in values]
            shaped = [slot.reshape(value.shape) for slot, value in zip(slots, values.values())]
            variables = [*values.values(), embeddings]
            autograd.mark_variables(variables, [*shaped, total], [*[request] * len(shaped), 'add'])
            with autograd.record():
                logits = self._logits(part, embeddings, own, states, values)
            with np.errstate(all='ignore'):
                share = mx.nd.array(np.exp(own_total - totals)[:, None], self.context, dtype=np.float32)
            share = mx.nd.broadcast_mul(mx.nd.softmax(logits, axis=1), share)
            logits.backward((share - mx.nd.one_hot(own, depth=logits.shape[1])) * scale)
        self._fresh = False
        return total

    def squares(self) -> float:
        """Return the sum of the squares of the gradients of the chosen rows."""
        found = [
            mx.nd.multi_sum_sq(table.gradient[part.start : part.stop], num_arrays=1)
            for table in self.tables.values()
            for part in self._parts()
        ]
        return sum((float(each.asscalar()) for each in found), 0.0)  # in double, with numpy 2, too

    def update(self, rate: float, scale: float, count: int) -> None:
        """Update the chosen rows by their gradients times `scale`, as update number `count` + 1."""
        parts = list(self._parts())
        for name, table in self.tables.items():
            optimizer = build_optimizer(self._cfg, [self._parameters[name]] * len(parts), count)
            optimizer.set_learning_rate(rate)
            optimizer.rescale_grad = scale
            for number, part in enumerate(parts):
                rows = [self._take(each, part) for each in table.arrays]
                optimizer.update(number, rows[0], table.gradient[part.start : part.stop], state_of(rows[1:]))
                if self._indices is not None:
                    for whole, own in zip(table.arrays, rows):
                        whole[self._indices[part.start : part.stop]] = own

    def put(self, name: str, number: int, start: int, rows: np.ndarray) -> None:
        """Put `rows` of the whole classifier's array, from row `start` on, where they are this shard's.

        number: of the array of the parameter, 0 its values, 1 the first slot ...; rows are counted as the parameter has
        them, `centres` for each identity.
        """
        table = self.tables[name]
        centres = table.shape[0] if table.shape else 1
        begin = max(start, self.first * centres)
        end = min(start + len(rows), self.last * centres)
        if begin < end:
            whole = table.arrays[number].reshape((-1, *table.shape[1:]))
            own = rows[begin - start : end - start]
            whole[begin - self.first * centres : end - self.first * centres] = mx.nd.array(own, self.context)

    def _parts(self) -> Iterator[slice]:
        for start in range(0, self._count, CHUNK):
            yield slice(start, min(start + CHUNK, self._count))

    def _positions(self, labels: np.ndarray) -> np.ndarray:
        """Return where each label (N,) stands among the chosen rows, -1 where it is another shard's."""
        own = (labels >= self.first) & (labels < self.last)
        rows = labels - self.first
        return np.where(own, rows if self.chosen is None else np.searchsorted(self.chosen, rows), -1)

    def _within(self, positions: np.ndarray, part: slice) -> mx.nd.NDArray:
        inside = (positions >= part.start) & (positions < part.stop)
        return mx.nd.array(np.where(inside, positions - part.start, -1), self.context, dtype=np.float32)

    def _take(self, whole: mx.nd.NDArray, part: slice) -> mx.nd.NDArray:
        """Return some of the chosen rows: a copy where a few are chosen, a view where all are."""
        if self._indices is None:
            return whole[part.start : part.stop]
        return mx.nd.take(whole, self._indices[part.start : part.stop])

    def _values(self, part: slice) -> Dict[str, mx.nd.NDArray]:
        """Return the values of some of the chosen rows by name, in the shapes of a classifier over these alone."""
        return {
            name: self._take(table.values, part).reshape((-1, *table.shape[1:]))
            for name, table in self.tables.items()
        }

    def _logits(
        self,
        part: slice,
        embeddings: mx.nd.NDArray,
        positions: mx.nd.NDArray,
        states: Mapping[str, Any],
        values: Mapping[str, mx.nd.NDArray],
    ) -> mx.nd.NDArray:
        arrays = {**values, **states}
        block = self._block(part.stop - part.start, tuple(arrays))
        return block(embeddings, positions, *arrays.values())[0]

    def _build(self, number: int, names: Sequence[str]) -> HybridBlock:
        block = _Logits(build_loss({**self._cfg, 'num_classes': number}), names)
        block.hybridize(static_alloc=True, static_shape=True)
        return block

    def _prepare_gradients(self) -> None:
        for table in self.tables.values():
            shape = (self._count, table.values.shape[1])
            if table.gradient is None or table.gradient.shape != shape:
                table.gradient = mx.nd.empty(shape, self.context)


class _Logits(HybridBlock):
    """The logits of a classifier whose parameters come as inputs."""

    def __init__(self, rule: HybridBlock, names: Sequence[str]) -> None:
        super().__init__(prefix='')
        self._logits, self._names = rule.logits, names

    def hybrid_forward(self, F: Any, embedding: Any, label: Any, *arrays: Any) -> Any:
        logits = self._logits(F, embedding, label, **dict(zip(self._names, arrays)))
        # where there is no margin the label is not looked at, and gluon would warn of that
        return logits, F.identity(label)


def _first_values(seed: int, first: int, last: int, width: int) -> Iterator[Any]:
    """Give (row in the shard, values (n, width)) for the identities [first, last)."""
    for block in range(first // DRAWN, -(-last // DRAWN)):
        draw = np.random.default_rng([seed, block])
        rows = draw.standard_normal((DRAWN, width), np.float32) * np.float32(SPREAD)
        start, stop = max(first - block * DRAWN, 0), min(last - block * DRAWN, DRAWN)
        yield block * DRAWN + start - first, rows[start:stop]
