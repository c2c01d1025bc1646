"""One training step after another: a network, its classifier and an optimizer, and what is kept to go on later."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from recognition.checkpoint.initialize import prepare
from recognition.checkpoint.matching import compare, require, set_parameters
from recognition.checkpoint.network import arrays_of, wrap_symbol
from recognition.classifier.base import PARAMETERS
from recognition.classifier.distillation import Teacher, distilled
from recognition.classifier.partial_fc import build_classifier
from recognition.distributed.kvstore import KVStoreGroup
from recognition.optim.lr_schedule import Schedule
from recognition.optim.optimizer import Updates
from recognition.training.ema import KIND, Average
from recognition.training.freezing import freeze, scale_rates
from recognition.training.nonfinite import Guard, LossScale
from recognition.training.recompute import build_pass
from recognition.utils.streamed_array import Rows, drain
from symbols.passes import freeze_norms

import mxnet as mx
from mxnet import autograd, gluon

SEEDS = 2**31 - 1  # mx.random.seed takes an int32
# Gradients are added over the parts of a step where there are several, and written where there is one.
ADD, WRITE = 'add', 'write'


class StepResult(NamedTuple):
    """What a step came to.

    losses: (N,) of this worker's samples. predictions: (N,), the identity with the greatest logit, after the margin.
    norm: of the mean gradient over all parameters. skipped: why no weight was changed, 'the loss became nan' say;
    None after a good step.
    """

    losses: np.ndarray
    predictions: np.ndarray
    norm: float
    skipped: Optional[str] = None


class Trainer:
    """Trains an embedding network under the classifier that `cfg` names, on one or several devices and workers.

    symbol: input `data` (N, 3, H, W), output the embedding (N, emb_size). cfg: with num_classes settled.
    schedule: step -> learning rate. workers: who trains together; by default this process alone. teacher: whose outputs
    are in the objective, too. Every batch is cut into cfg.accumulate parts, one after the other, and each part evenly
    over the devices.

    `steps` steps were tried, `guard.skipped` of them left out because a loss or gradient was not finite. Everything
    random (first values, dropout) follows from cfg.seed and the step, so a run that is broken off and goes on equals
    one that is not.
    """

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        cfg: Any,
        schedule: Schedule,
        contexts: Sequence[mx.Context],
        workers: Optional[KVStoreGroup] = None,
        teacher: Optional[Teacher] = None,
    ) -> None:
        self.symbol, self.schedule, self.contexts = symbol, schedule, list(contexts)
        self.workers = workers or KVStoreGroup('device', self.contexts)
        self.image_shape = tuple(cfg.image_shape)
        self.seed, self.clip_norm, self.parts = int(cfg.seed), float(cfg.clip_norm), int(cfg.accumulate)
        self.steps = 0
        mx.random.seed(self.seed)
        self.net = wrap_symbol(symbol)
        prepare(self.net, symbol, image_shape=self.image_shape, ctx=self.contexts)
        scale_rates(self.net.collect_params(), cfg)
        self.frozen = freeze(self.net.collect_params(), cfg)
        self.network = build_pass(self.net, freeze_norms(symbol, self.frozen), cfg, self.contexts)
        self.classifier = build_classifier(cfg, self.contexts, self.workers)
        if teacher:
            self.classifier = distilled(self.classifier, cfg, teacher)
        self.parameters = {**self.net.collect_params(), **self.classifier.parameters}
        self._set_gradients(ADD if self.parts > 1 else WRITE)
        moving = [name for name in symbol.list_auxiliary_states() if name not in self.frozen]
        self.statistics = {name: self.parameters[name] for name in moving}
        self.statistics.update({state.name: state for state in self.classifier.states})
        self._next_states: List[np.ndarray] = []
        self.updates = Updates(cfg, self.parameters, self.contexts)
        self.guard, self.scale = Guard(cfg.max_skipped), LossScale(cfg.fp16_scale, on=cfg.fp16)
        averaged = {n: each for n, each in self.net.collect_params().items() if n not in self.frozen}
        self.average = Average(averaged, cfg.ema, self.contexts[0]) if cfg.ema else None

    def begin(self) -> None:
        """Start all workers from the values of the first; called once, when weights have been loaded."""
        self.workers.broadcast(self.parameters)

    def step(self, images: np.ndarray, labels: np.ndarray) -> StepResult:
        """Train on this worker's uint8 images (N, 3, H, W) and labels (N,).

        N is a multiple of the number of devices times cfg.accumulate. A step whose loss or gradient is not finite, on
        any worker, leaves everything as it was and is counted; FaceSymbolsError when too many come in a row.
        """
        rate = self.schedule(self.steps)
        self._seed()
        before = self._copy_statistics()
        self.classifier.begin(labels, self.steps)
        losses, predictions = self._gradients(images, labels)
        self.steps += 1
        self.workers.add_gradients(self.parameters)
        samples, faulty = self.workers.total([len(labels), not np.isfinite(losses).all()])
        scale = 1.0 / (samples * self.scale.value)
        norm = self._norm() * scale
        skipped = self._fault(faulty > 0, losses, norm)
        if skipped:
            self._restore_statistics(before)
            if faulty or not self.scale.overflow():
                self.guard.bad(skipped, self.steps, rate)
            return StepResult(losses, predictions, norm, skipped)
        clipped = min(1.0, self.clip_norm / norm) if self.clip_norm and norm else 1.0
        self.classifier.update(rate, scale * clipped, self.updates.count)
        self.updates.apply(rate, scale * clipped)
        for state, value in zip(self.classifier.states, self._next_states):
            state.set_data(mx.nd.array(value))
        self.scale.good()
        self.guard.good()
        if self.average:
            self.average.update(self.updates.count)
        return StepResult(losses, predictions, norm)

    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Run the parts of a batch forward and backward; return the losses and predictions of them all."""
        if self.parts > 1:
            for parameter in self.parameters.values():
                parameter.zero_grad()
        if self.classifier.spans_parts:
            self._show_all(images)
        results = []
        for part, faces in enumerate(np.split(images, self.parts)):
            self._seed(part)
            results += self._backward(faces, np.split(labels, self.parts)[part])
        losses = np.concatenate([loss.asnumpy() for loss, *_ in results])
        parts = np.split(labels, len(results))
        predictions = [
            self.classifier.predictions(scores, own) for (_, scores, *_), own in zip(results, parts)
        ]
        self._next_states = [
            np.mean([state.asnumpy() for state in states], axis=0)
            for states in zip(*(states for _, _, *states in results))
        ]
        return losses, np.concatenate(predictions)

    def _show_all(self, images: np.ndarray) -> None:
        """Give the classifier the embeddings of all parts, computed as they will be again for the gradients."""
        embeddings = []
        for part, faces in enumerate(np.split(images, self.parts)):
            self._seed(part)
            with autograd.train_mode():
                embeddings += [self.network(x) for x in self._load(faces)]
        self.classifier.see(embeddings)

    def _seed(self, part: int = 0) -> None:
        """Begin anew the random numbers of a part of the step."""
        mx.random.seed(
            (self.seed * 1000003 + self.steps + 7919 * self.workers.rank + 15485863 * part) % SEEDS
        )

    def _load(self, images: np.ndarray) -> List[mx.nd.NDArray]:
        faces = gluon.utils.split_and_load(mx.nd.array(images, dtype=np.uint8), self.contexts)
        return [x.astype(np.float32) for x in faces]

    def _backward(self, images: np.ndarray, labels: np.ndarray) -> List[Sequence[mx.nd.NDArray]]:
        faces = self._load(images)
        targets = gluon.utils.split_and_load(mx.nd.array(labels), self.contexts)
        with autograd.record():
            embeddings = [self.network(x) for x in faces]
            heads, gradients, results = self.classifier.objective(embeddings, targets, self.scale.value)
        autograd.backward(heads, gradients)
        self.network.backward()
        return results

    def _norm(self) -> float:
        """Return the length of the gradient over all parameters; of those on every device, on the first."""
        gradients = [each.list_grad()[0] for each in self.parameters.values() if each.grad_req != 'null']
        squares = mx.nd.multi_sum_sq(*gradients, num_arrays=len(gradients)).asnumpy()
        return float(np.sqrt(squares.sum(dtype=np.float64) + self.classifier.squares()))

    def _fault(self, faulty: bool, losses: np.ndarray, norm: float) -> Optional[str]:
        if faulty:
            own = losses[~np.isfinite(losses)]
            return f'the loss became {own[0]}' if len(own) else 'the loss of another worker became not finite'
        return None if np.isfinite(norm) else f'the gradient became {norm}'

    def _copy_statistics(self) -> Dict[str, List[mx.nd.NDArray]]:
        mx.nd.waitall()  # batch norm's moving statistics are written behind backward's back
        return {name: [value.copy() for value in each.list_data()] for name, each in self.statistics.items()}

    def _restore_statistics(self, values: Mapping[str, List[mx.nd.NDArray]]) -> None:
        mx.nd.waitall()
        for name, each in self.statistics.items():
            for value, before in zip(each.list_data(), values[name]):
                value[:] = before

    def _set_gradients(self, how: str) -> None:
        for parameter in self.parameters.values():
            if parameter.grad_req != 'null':
                parameter.grad_req = how

    def settle(self) -> None:
        """Give all devices and workers the mean of their moving statistics, before one of them is verified or saved."""
        mx.nd.waitall()
        statistics = {name: each.list_data() for name, each in self.statistics.items()}
        if self.average:
            averages = self.average.values
            statistics.update({KIND + name: [averages[name]] for name in self.statistics if name in averages})
        self.workers.average(statistics)

    def embedding_network(self) -> gluon.SymbolBlock:
        """Return a block for inference, with any batch size: of the averages if there are any."""
        data = mx.sym.var('data', dtype='float32')
        if self.average:
            block = wrap_symbol(self.symbol)
            args, auxs = self.network_arrays()
            set_parameters(block, {**args, **auxs}, self.contexts[0])
        else:
            block = gluon.SymbolBlock(self.symbol, data, params=self.net.params)
        block.hybridize(static_alloc=True)
        return block

    def network_arrays(self) -> Tuple[Dict[str, mx.nd.NDArray], Dict[str, mx.nd.NDArray]]:
        """Return (arguments, auxiliary states) by name of what `embedding_network` computes with."""
        args, auxs = arrays_of(self.net, self.symbol, self.contexts[0])
        held = self.average.values if self.average else {}
        return tuple({n: held.get(n, value) for n, value in each.items()} for each in (args, auxs))  # type: ignore

    def arrays(self) -> Dict[str, Union[np.ndarray, Rows]]:
        """Return weights, moving statistics, averages and the optimizer's arrays by 'kind:name'.

        All workers have to fetch those that are a `Rows`, in this order.
        """
        mx.nd.waitall()
        arrays = {
            PARAMETERS + n: each.data(self.contexts[0]).asnumpy() for n, each in self.parameters.items()
        }
        averages = self.average.arrays() if self.average else {}
        return {**arrays, **self.updates.arrays(), **averages, **self.classifier.arrays()}

    def hand_over(self) -> None:
        """Give the first worker this one's part of `arrays`, while it fetches them all."""
        for array in self.classifier.arrays().values():
            drain(array)

    def counts(self) -> Dict[str, Any]:
        """Return where training stands, apart from its arrays, as values that JSON can hold."""
        return {
            'step': self.steps,
            'updates': self.updates.count,
            'guard': self.guard.state(),
            'scale': self.scale.state(),
        }

    def restore(self, counts: Mapping[str, Any], arrays: Mapping[str, Any], *, source: object) -> None:
        """Go on from what `counts` and `arrays` returned; CheckpointError where the arrays do not fit."""
        rows = {key: arrays[key] for key in self.classifier.arrays() if key in arrays}
        kinds = dict(_by_kind({key: np.asarray(value) for key, value in arrays.items() if key not in rows}))
        wanted = {PARAMETERS + name: parameter.shape for name, parameter in self.parameters.items()}
        held = kinds.pop('param', {})
        require(compare(wanted, held), source=source, target='the network and classifier of this run')
        averages = kinds.pop('ema', {})
        if self.average:
            self.average.restore(averages, source=source)
        optimizer = {key: value for kind in kinds.values() for key, value in kind.items()}
        self.updates.restore(int(counts['updates']), optimizer, source=source)
        for name, parameter in self.parameters.items():
            parameter.set_data(mx.nd.array(held[PARAMETERS + name], dtype=parameter.dtype))
        self.classifier.restore(int(counts['updates']), rows, source=source)
        self.guard.restore(counts['guard'])
        self.scale.restore(counts['scale'])
        self.steps = int(counts['step'])


def _by_kind(arrays: Mapping[str, np.ndarray]) -> Iterator[Tuple[str, Dict[str, np.ndarray]]]:
    kinds: Dict[str, Dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        kinds.setdefault(key.partition(':')[0], {})[key] = value
    yield from kinds.items()
