"""The classifier in parts: its identities split over all devices of all workers, and a share of them in each step.

Each worker computes the embeddings of its own samples, and gets those of all others. Each device computes the logits of
all samples for its own identities. Four numbers for each sample and device then go to all (see `sharded_softmax`), and
the gradients of the embeddings are added up on the way back. The whole classifier stands nowhere.
Source: An et al. 2021, 'Partial FC', section 3; InsightFace's partial_fc.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from config.checks import check_partial, is_partial
from config.errors import ConfigError
from recognition.checkpoint.matching import compare, require
from recognition.classifier.base import PARAMETERS, Classifier, Objective, WeightedClasses, WholeClassifier
from recognition.classifier.gradient_cache import Bag
from recognition.classifier.shard import CHUNK, Shard
from recognition.classifier.sharded_softmax import BEST, combine, cross_entropy, log_total
from recognition.distributed.kvstore import KVStoreGroup
from recognition.losses.factory import build_loss, has_classifier
from recognition.optim.optimizer import SLOT
from recognition.utils.streamed_array import Rows, pieces_of

import mxnet as mx
from mxnet import autograd

MOST = 2**31  # values in an array of mxnet


def build_classifier(cfg: Any, contexts: Sequence[mx.Context], workers: KVStoreGroup) -> Classifier:
    """Build the classifier, or another objective, that `cfg` names, with its first values."""
    if is_partial(cfg):
        return PartialFC(cfg, contexts, workers)
    block = build_loss(cfg)
    block.initialize(ctx=list(contexts))
    block.hybridize(static_alloc=True, static_shape=True)
    if not has_classifier(cfg) and int(cfg['accumulate']) * len(contexts) > 1:
        return Bag(block, contexts, int(cfg['accumulate']))
    if cfg['class_weights']:
        return WeightedClasses(block, workers)
    return WholeClassifier(block)


class PartialFC:
    """The part of the classifier of `cfg` that is this worker's: a `Shard` on each of its devices.

    Of its identities a shard sees in a step those of all workers' batches, and others drawn from a seed that follows
    from cfg.seed, the step and the shard: cfg.sample_rate of its own together. What the trainer asks of it is in
    recognition.classifier. Raises ConfigError where there are more shards than identities, or the rows of a shard are
    more than an array of mxnet can hold.
    """

    spans_parts = False

    def __init__(self, cfg: Any, contexts: Sequence[mx.Context], workers: KVStoreGroup) -> None:
        check_partial(cfg)
        self._workers, self._contexts, self._seed = workers, list(contexts), int(cfg['seed'])
        self._rule = build_loss(cfg)
        self.states = self._rule.states
        self.parameters = {state.name: state for state in self.states}
        for state in self.states:
            state.initialize(ctx=self._contexts)
        self._bounds = _bounds(cfg, self._rule, len(contexts) * workers.size)
        mine = self._bounds[workers.rank * len(contexts) :]
        self.shards = [Shard(cfg, *own, context) for own, context in zip(mine, contexts)]

    def begin(self, labels: np.ndarray, step: int) -> None:
        """Choose the identities of a step."""
        every = self._labels_of_all(mx.nd.array(labels, self._contexts[0]))
        for shard in self.shards:
            shard.choose(every, np.random.default_rng([self._seed, step, shard.first]))

    def see(self, embeddings: Sequence[mx.nd.NDArray]) -> None:
        """Do nothing."""

    def objective(
        self, embeddings: Sequence[mx.nd.NDArray], labels: Sequence[mx.nd.NDArray], scale: float
    ) -> Objective:
        """Compute losses, and the gradients of the embeddings; keep those of the rows."""
        first = self._contexts[0]
        with autograd.pause():
            own = _joined(embeddings, first)
            every, targets = self._from_all('embeddings', own), self._labels_of_all(_joined(labels, first))
            states = self._rule.next_states(mx.nd, every, **self._states())
            given = [_given(shard.context, every, targets, states) for shard in self.shards]
            waiting = [shard.forward(*each) for shard, each in zip(self.shards, given)]
            scores = self._over_all(combine([wait() for wait in waiting]))
            totals = log_total(scores)
            added = [
                shard.backward(*each, totals=totals, scale=scale) for shard, each in zip(self.shards, given)
            ]
            gradient = self._workers.add('embedding_gradients', _sum(added, first))
            mine = slice(self._workers.rank * len(own), (self._workers.rank + 1) * len(own))
            gradients = _split(gradient[mine.start : mine.stop], embeddings)
            losses, best = (mx.nd.array(each[mine], first) for each in (cross_entropy(scores), scores[BEST]))
        pulls = [pull for pull in (self._rule.pull(mx.nd, each) for each in embeddings) if pull is not None]
        if pulls:
            losses = losses + _joined(pulls, first).detach()
        heads = [*embeddings, *pulls]
        gradients += [mx.nd.full(pull.shape, scale, pull.context) for pull in pulls]
        return heads, gradients, [(losses, best, *states.values())]

    def _states(self) -> Dict[str, mx.nd.NDArray]:
        """Return the states by the names of their attributes."""
        named = {name: each for name, each in vars(self._rule).items() if any(each is s for s in self.states)}
        return {name: each.data(self._contexts[0]) for name, each in named.items()}

    def _from_all(self, name: str, own: mx.nd.NDArray) -> mx.nd.NDArray:
        """Return the rows of all workers, one worker's after the other's."""
        return self._workers.gather(name, own).reshape((-1, *own.shape[1:]))

    def _labels_of_all(self, own: mx.nd.NDArray) -> np.ndarray:
        return self._from_all('labels', own).asnumpy().astype(np.int64)

    def _over_all(self, scores: np.ndarray) -> np.ndarray:
        """Return the scores over the identities of all workers."""
        if self._workers.size == 1:
            return scores
        return combine(self._workers.gather('scores', mx.nd.array(scores, self._contexts[0])).asnumpy())

    @staticmethod
    def predictions(scores: mx.nd.NDArray, labels: np.ndarray) -> np.ndarray:
        """Return the identity (n,) with the greatest logit of those that were computed."""
        return np.asarray(scores.asnumpy())

    def squares(self) -> float:
        """Return the squared length of the gradient of the rows, on all workers."""
        return float(self._workers.total([sum(shard.squares() for shard in self.shards)])[0])

    def update(self, rate: float, scale: float, count: int) -> None:
        """Update the rows of this step."""
        for shard in self.shards:
            shard.update(rate, scale, count)

    def arrays(self) -> Dict[str, Rows]:
        """Return the rows of all workers by 'param:fc7_weight', 'slot0:fc7_weight' and so on, for the training state.

        All workers have to fetch all pieces, in this order.
        """
        identities = self._bounds[-1][1]
        found = {}
        for name, table in self.shards[0].tables.items():
            kinds = [PARAMETERS, *(f'{SLOT}{number}:' for number in range(len(table.slots)))]
            centres, *rest = table.shape or (1,)
            for number, kind in enumerate(kinds):
                shape = (identities * centres, *rest)
                found[kind + name] = Rows(shape, partial(self._pieces, name, number))
        return found

    def _pieces(self, name: str, number: int) -> Iterator[np.ndarray]:
        """Give the rows of all shards of all workers, in order; number: 0 the values, 1 the first slot ..."""
        shape = self.shards[0].tables[name].shape
        for order, (first, last) in enumerate(self._bounds):
            rank, device = divmod(order, len(self.shards))
            for start in range(0, last - first, CHUNK):
                stop = min(start + CHUNK, last - first)
                if rank == self._workers.rank:
                    whole = self.shards[device].tables[name].arrays[number]
                    rows = whole[start:stop].copyto(self._contexts[0])
                else:
                    width = self.shards[0].tables[name].values.shape[1]
                    rows = mx.nd.zeros((stop - start, width), self._contexts[0])
                yield self._workers.add('rows', rows).asnumpy().reshape((-1, *shape[1:]))

    def restore(self, count: int, arrays: Mapping[str, Any], *, source: object) -> None:
        """Go on with this worker's rows of `arrays`, after `count` updates; before the first there are no slots yet."""
        own = self.arrays()
        wanted = {key: each.shape for key, each in own.items() if count or key.startswith(PARAMETERS)}
        held = {key: arrays[key] for key in wanted if key in arrays}
        require(compare(wanted, held), source=source, target="this run's classifier")
        self._put(held)

    def _put(self, arrays: Mapping[str, Any]) -> None:
        for key in self.arrays():
            if key in arrays:
                kind, _, name = key.partition(':')
                number = 0 if kind + ':' == PARAMETERS else int(kind[len(SLOT) :]) + 1
                start = 0
                for piece in pieces_of(arrays[key]):
                    for shard in self.shards:
                        shard.put(name, number, start, piece)
                    start += len(piece)

    def values(self) -> Dict[str, np.ndarray]:
        """Return the values of all parameters by name, whole."""
        rows = {key: each for key, each in self.arrays().items() if key.startswith(PARAMETERS)}
        states = {state.name: state.data(self._contexts[0]).asnumpy() for state in self.states}
        return {**{key[len(PARAMETERS) :]: np.asarray(each) for key, each in rows.items()}, **states}

    def load(self, values: Mapping[str, Any]) -> None:
        """Take this worker's rows of values of all identities, and the states."""
        self._put({PARAMETERS + name: value for name, value in values.items()})
        for state in self.states:
            if state.name in values:
                state.set_data(mx.nd.array(values[state.name]))


def _bounds(cfg: Any, rule: Any, shards: int) -> List[Tuple[int, int]]:
    """Return [first, last) of the identities of each shard; their numbers differ by one at most."""
    identities = int(cfg['num_classes'])
    if identities < shards:
        raise ConfigError(
            f'num_classes={identities} is less than the {shards} devices over which the classifier is split'
        )
    ends = [identities * number // shards for number in range(shards + 1)]
    width = rule.fc7_weight.shape[0] // identities * rule.fc7_weight.shape[1]
    most = -(-identities // shards) * width
    if most >= MOST:
        raise ConfigError(
            f'num_classes={identities} over {shards} devices is {most} values for one of them, and an array of mxnet '
            f'has less than {MOST}; train on {-(-identities * width // (MOST - width))} devices or more'
        )
    return list(zip(ends, ends[1:]))


def _given(
    context: mx.Context, embeddings: mx.nd.NDArray, labels: np.ndarray, states: Mapping[str, Any]
) -> Tuple[mx.nd.NDArray, np.ndarray, Dict[str, mx.nd.NDArray]]:
    """Return what a shard on a device is given."""
    there = {name: each.as_in_context(context) for name, each in states.items()}
    return embeddings.as_in_context(context), labels, there


def _joined(arrays: Sequence[mx.nd.NDArray], context: mx.Context) -> mx.nd.NDArray:
    return mx.nd.concat(*(each.as_in_context(context) for each in arrays), dim=0)


def _sum(arrays: Sequence[mx.nd.NDArray], context: mx.Context) -> mx.nd.NDArray:
    return mx.nd.add_n(*(each.as_in_context(context) for each in arrays))


def _split(rows: mx.nd.NDArray, like: Sequence[mx.nd.NDArray]) -> List[mx.nd.NDArray]:
    """Cut rows as the arrays of several devices are cut, and put each part on its device."""
    parts, start = [], 0
    for each in like:
        parts.append(rows[start : start + len(each)].as_in_context(each.context))
        start += len(each)
    return parts
