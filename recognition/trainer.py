"""One training step after another: a network, its classifier and SGD, and what is kept to go on later."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from config.errors import FaceSymbolsError
from recognition.checkpoint import arrays_of, wrap_symbol
from recognition.margin import build_loss
from recognition.parameters import prepare
from recognition.schedule import Schedule
from recognition.weights import compare, require

import mxnet as mx
from mxnet import autograd, gluon

SEEDS = 2**31 - 1  # mx.random.seed takes an int32
OPTIMIZER_PARTS = ('momentum', 'master')  # master: the float32 copy of a float16 parameter


class Trainer:
    """Trains an embedding network under the classifier that `cfg` names, on one or several devices.

    symbol: input `data` (N, 3, H, W), output the embedding (N, emb_size). cfg: with num_classes settled.
    schedule: step -> learning rate. contexts: every batch is split evenly over them.

    Everything random (first values, dropout) follows from cfg.seed and the step, so a run that is broken off
    and goes on equals one that is not.
    """

    def __init__(
        self, symbol: mx.sym.Symbol, cfg: Any, schedule: Schedule, contexts: Sequence[mx.Context]
    ) -> None:
        self.symbol, self.schedule, self.contexts = symbol, schedule, list(contexts)
        self.image_shape = tuple(cfg.image_shape)
        self.seed = int(cfg.seed)
        self.steps = 0
        mx.random.seed(self.seed)
        self.net = wrap_symbol(symbol)
        prepare(self.net, symbol, image_shape=self.image_shape, ctx=self.contexts)
        self.classifier = build_loss(cfg)
        self.classifier.initialize(ctx=self.contexts)
        for block in (self.net, self.classifier):
            block.hybridize(static_alloc=True, static_shape=True)
        self.parameters = {**self.net.collect_params(), **self.classifier.collect_params()}
        self.sgd = gluon.Trainer(
            list(self.parameters.values()),
            'sgd',
            {'momentum': cfg.mom, 'wd': cfg.wd, 'multi_precision': bool(cfg.fp16)},
            kvstore=cfg.kvstore,
            update_on_kvstore=False,  # so that the momenta are here and can be saved by name
        )

    def step(self, images: np.ndarray, labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Train on uint8 images (N, 3, H, W) and labels (N,); return the losses (N,) and predictions (N,).

        N is a multiple of the number of devices. A prediction is the identity with the greatest logit, after
        the margin. Raises FaceSymbolsError, before any weight changes, when a loss is not finite.
        """
        rate = self.schedule(self.steps)
        mx.random.seed((self.seed * 1000003 + self.steps) % SEEDS)
        faces = gluon.utils.split_and_load(mx.nd.array(images, dtype=np.uint8), self.contexts)
        targets = gluon.utils.split_and_load(mx.nd.array(labels), self.contexts)
        with autograd.record():
            parts = [self.classifier(self.net(x.astype(np.float32)), y) for x, y in zip(faces, targets)]
        autograd.backward([loss for loss, _ in parts])
        losses = np.concatenate([loss.asnumpy() for loss, _ in parts])
        if not np.isfinite(losses).all():
            raise FaceSymbolsError(
                f'the loss became {losses.mean()} at step {self.steps + 1} with learning rate {rate:g}; '
                'train with a lower lr, a longer warm-up (warmup_steps) or a smaller margin'
            )
        self.sgd.set_learning_rate(rate)
        self.sgd.step(len(images))
        self.steps += 1
        return losses, np.concatenate([logits.argmax(axis=1).asnumpy() for _, logits in parts])

    def embedding_network(self) -> gluon.SymbolBlock:
        """Return a block for inference, with any batch size, that shares this network's parameters."""
        block = gluon.SymbolBlock(self.symbol, mx.sym.var('data', dtype='float32'), params=self.net.params)
        block.hybridize(static_alloc=True)
        return block

    def network_arrays(self) -> Tuple[Dict[str, mx.nd.NDArray], Dict[str, mx.nd.NDArray]]:
        """Return the embedding network's (arguments, auxiliary states) by name."""
        return arrays_of(self.net, self.symbol, self.contexts[0])

    def arrays(self) -> Dict[str, np.ndarray]:
        """Return weights, moving statistics and the optimizer's arrays by 'kind:name'."""
        mx.nd.waitall()  # batch norm's moving statistics are written behind backward's back
        arrays = {f'param:{n}': p.data(self.contexts[0]).asnumpy() for n, p in self.parameters.items()}
        for index, name in enumerate(self.parameters):
            state = self.sgd._updaters[0].states.get(index)
            arrays.update((f'{kind}:{name}', part.asnumpy()) for kind, part in _parts(state))
        return arrays

    def restore(self, steps: int, arrays: Mapping[str, Dict[str, np.ndarray]], *, source: object) -> None:
        """Go on after `steps` steps with the arrays by kind and name; CheckpointError if they do not fit."""
        wanted = {name: parameter.shape for name, parameter in self.parameters.items()}
        target = 'the network and classifier of this run'
        require(compare(wanted, arrays['param']), source=source, target=target)
        for kind in OPTIMIZER_PARTS:
            held = arrays[kind]
            those = {name: wanted[name] for name in held if name in wanted}
            require(compare(those, held), source=source, target=target)
        for name, parameter in self.parameters.items():
            parameter.set_data(mx.nd.array(arrays['param'][name], dtype=parameter.dtype))
        for index, (name, parameter) in enumerate(self.parameters.items()):
            if parameter.grad_req != 'null':
                self._restore_optimizer(
                    index, parameter, {kind: arrays[kind].get(name) for kind in OPTIMIZER_PARTS}
                )
        self.steps = steps

    def _restore_optimizer(self, index: int, parameter: gluon.Parameter, saved: Dict[str, Any]) -> None:
        for updater, weight in zip(self.sgd._updaters, parameter.list_data()):
            state = self.sgd.optimizer.create_state_multi_precision(index, weight)
            for kind, part in _parts(state):
                if saved[kind] is not None:
                    part[:] = saved[kind]
            updater.states[index] = state
            updater.states_synced[index] = True


def _parts(state: Any) -> Iterator[Tuple[str, mx.nd.NDArray]]:
    """Give the arrays of SGD's state of one parameter: None, a momentum, or (momentum, float32 copy)."""
    parts: List[Any] = list(state) if isinstance(state, (tuple, list)) else [state]
    for kind, part in zip(OPTIMIZER_PARTS, parts):
        if part is not None:
            yield kind, part
