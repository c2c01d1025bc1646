"""The optimizers, and the updates that one of them makes to named parameters on one or several devices."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence

import numpy as np

from recognition.checkpoint.matching import compare, require

import mxnet as mx
from mxnet import gluon

SLOT = 'slot'  # slot0, slot1 ...: the arrays that an optimizer keeps for a parameter, in mxnet's own order


class NAG(mx.optimizer.Optimizer):
    """SGD with Nesterov's momentum m: m <- momentum m + g, w <- w - rate (g + momentum m), where g has the decay in it.

    Source: Sutskever et al. 2013, 'On the importance of initialization and momentum in deep learning', equations 3
    and 4, as PyTorch and mxnet's documentation have it. Not mxnet's own: in 1.9.1 its operator, writing in place, takes
    the decay of the momentum from the weight that it has just changed.
    """

    def __init__(self, *, momentum: float, **options: Any) -> None:
        super().__init__(**options)
        self.momentum = momentum

    def create_state(self, index: int, weight: mx.nd.NDArray) -> Any:
        """Return the momentum, zero at first."""
        return mx.nd.zeros(weight.shape, weight.context, dtype=weight.dtype)

    def update(self, index: int, weight: mx.nd.NDArray, grad: mx.nd.NDArray, state: Any) -> None:
        """Update one parameter."""
        self._update_count(index)
        grad = grad * self.rescale_grad + weight * self._get_wd(index)
        state *= self.momentum
        state += grad
        weight -= (grad + state * self.momentum) * self._get_lr(index)


class AdamW(mx.optimizer.Optimizer):
    """Adam whose weight decay is taken off the weights and not added to the gradient.

    Source: Loshchilov and Hutter 2019, 'Decoupled Weight Decay Regularization', algorithm 2; the decay of a step is
    learning rate x wd x weight, as in PyTorch. mxnet 1.9.1 has the operator and no optimizer for it.
    """

    def __init__(self, *, beta1: float, beta2: float, epsilon: float = 1e-8, **options: Any) -> None:
        super().__init__(**options)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def create_state(self, index: int, weight: mx.nd.NDArray) -> Any:
        """Return the running means of the gradient and of its square, zero at first."""
        return tuple(mx.nd.zeros(weight.shape, weight.context, dtype=weight.dtype) for _ in range(2))

    def update(self, index: int, weight: mx.nd.NDArray, grad: mx.nd.NDArray, state: Any) -> None:
        """Update one parameter."""
        self._update_count(index)
        count = self._index_update_count[index]
        rescale = mx.nd.full((1,), self.rescale_grad, weight.context)
        first, second = (
            1 - self.beta1**count,
            (1 - self.beta2**count) ** 0.5,
        )  # what corrects the means' start at 0
        mx.nd.contrib.adamw_update(
            weight,
            grad,
            *state,
            rescale,
            out=weight,
            lr=second / first,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon * second,
            wd=self._get_wd(index),
            eta=self._get_lr(index),
        )


def _sgd(cfg: Any, **options: Any) -> mx.optimizer.Optimizer:
    return mx.optimizer.SGD(momentum=cfg.mom, **options)


def _nag(cfg: Any, **options: Any) -> mx.optimizer.Optimizer:
    return NAG(momentum=cfg.mom, **options)


def _adamw(cfg: Any, **options: Any) -> mx.optimizer.Optimizer:
    return AdamW(beta1=cfg.adam_beta1, beta2=cfg.adam_beta2, **options)


OPTIMIZERS: Dict[str, Callable[..., mx.optimizer.Optimizer]] = {'sgd': _sgd, 'nag': _nag, 'adamw': _adamw}


def build_optimizer(cfg: Any, parameters: Sequence[gluon.Parameter], count: int) -> mx.optimizer.Optimizer:
    """Build the optimizer that `cfg.optimizer` names, after `count` updates.

    parameters: of each index its factors on learning rate and decay, lr_mult and wd_mult.
    """
    return OPTIMIZERS[cfg.optimizer](
        cfg,
        wd=cfg.wd,
        multi_precision=bool(cfg.fp16),
        param_dict=dict(enumerate(parameters)),
        begin_num_update=count,
    )


class Updates:
    """Applies the optimizer that `cfg.optimizer` names to parameters, and holds what it remembers of each.

    parameters: by name, initialised; those with grad_req 'null' are left alone. contexts: their devices, on each of
    which the same update is made, so that all copies stay equal. `count` updates have been made.
    """

    def __init__(
        self, cfg: Any, parameters: Mapping[str, gluon.Parameter], contexts: Sequence[mx.Context]
    ) -> None:
        self._cfg, self._contexts = cfg, list(contexts)
        self._trained = {name: each for name, each in parameters.items() if each.grad_req != 'null'}
        self._start(0)

    def _start(self, count: int) -> None:
        self.count = count
        self._optimizer = build_optimizer(self._cfg, list(self._trained.values()), count)
        self._updaters = [mx.optimizer.get_updater(self._optimizer) for _ in self._contexts]

    def apply(self, rate: float, scale: float) -> None:
        """Update every parameter by its gradient times `scale`, at the learning rate `rate`."""
        self._optimizer.set_learning_rate(rate)
        self._optimizer.rescale_grad = scale
        indices = list(range(len(self._trained)))
        for device, updater in enumerate(self._updaters):
            gradients = [parameter.list_grad()[device] for parameter in self._trained.values()]
            weights = [parameter.list_data()[device] for parameter in self._trained.values()]
            updater(list(indices), gradients, weights)
        self.count += 1

    def arrays(self) -> Dict[str, np.ndarray]:
        """Return what the optimizer remembers by 'slot0:name', 'slot1:name' ..."""
        states = self._updaters[0].states
        return {
            f'{SLOT}{slot}:{name}': leaf.asnumpy()
            for index, name in enumerate(self._trained)
            for slot, leaf in enumerate(leaves(states.get(index)))
        }

    def restore(self, count: int, arrays: Mapping[str, np.ndarray], *, source: object) -> None:
        """Go on after `count` updates with `arrays`; CheckpointError where they are not this optimizer's."""
        self._start(count)
        if not count:
            return
        slots: Dict[str, mx.nd.NDArray] = {}
        for updater, context in zip(self._updaters, self._contexts):
            for index, (name, parameter) in enumerate(self._trained.items()):
                state = self._optimizer.create_state_multi_precision(index, parameter.data(context))
                updater.states[index], updater.states_synced[index] = state, True
                held = {f'{SLOT}{slot}:{name}': leaf for slot, leaf in enumerate(leaves(state))}
                slots.update(held)
                for key, leaf in held.items():
                    if key in arrays and arrays[key].shape == leaf.shape:
                        leaf[:] = arrays[key]
        wanted = {key: leaf.shape for key, leaf in slots.items()}
        require(compare(wanted, arrays), source=source, target=f"this run's optimizer {self._cfg.optimizer}")


def leaves(state: Any) -> Iterator[mx.nd.NDArray]:
    """Give the arrays of an optimizer's state of one parameter, which may be None, an array or tuples of them."""
    if isinstance(state, mx.nd.NDArray):
        yield state
    elif state is not None:
        parts: List[Any] = list(state)
        for part in parts:
            yield from leaves(part)


def state_of(arrays: Sequence[mx.nd.NDArray]) -> Any:
    """Return the optimizer's state of one parameter, in float32, whose `leaves` are these arrays."""
    return tuple(arrays) if len(arrays) > 1 else next(iter(arrays), None)
