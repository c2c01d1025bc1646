"""Keras's kernel_regularizer: an L2 penalty on the weights of convolutions and dense layers, as a term of the loss.

    penalty = KernelL2(net, 1e-4, factors={'conv5_': 1e-3})
    with mx.autograd.record():
        loss = criterion(net(images), labels) + penalty()

The config key kernel_l2 has the same effect without the term, as a share of the weight decay; it has one factor for
all layers. With this class set wd to 0, or the weights are decayed twice. The factor is Keras's: l2 * sum(w * w), whose
gradient is 2 * l2 * w.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, Mapping, Optional

from config.errors import ConfigError

import mxnet as mx
from mxnet.gluon import Block

KERNEL = '_weight'  # how the names of kernels end; biases, gammas, betas and slopes end otherwise


def kernel_factors(
    names: Iterable[str], l2: float, factors: Optional[Mapping[str, float]] = None
) -> Dict[str, float]:
    """Return the L2 factor of each kernel among the parameters `names`, without those whose factor is 0.

    `factors` maps a regular expression, which a name has to begin with as in Gluon's `collect_params`, to the factor of
    those layers in place of `l2`; the first that fits counts. Raises ConfigError for a factor below 0, a pattern that
    is none, and a pattern that fits no kernel.
    """
    given = dict(factors or {})
    for pattern, factor in {'l2': l2, **given}.items():
        if not 0 <= factor < float('inf'):
            raise ConfigError(f'the L2 factor {pattern}={factor!r} is not allowed: it must be 0 or more')
    kernels = [name for name in names if name.endswith(KERNEL)]
    chosen = dict.fromkeys(kernels, l2)
    for pattern, factor in reversed(list(given.items())):
        try:
            fitting = [name for name in kernels if re.match(pattern, name)]
        except re.error as error:
            raise ConfigError(f'{pattern!r} is no regular expression: {error}') from None
        if not fitting:
            raise ConfigError(
                f'no kernel has a name that begins with {pattern!r}; the first is {kernels[:1]}'
            )
        chosen.update(dict.fromkeys(fitting, factor))
    return {name: factor for name, factor in chosen.items() if factor}


class KernelL2:
    """The penalty of a Gluon block: the sum of factor * sum(w * w) over its kernels; arguments as `kernel_factors`.

    Calling it returns the penalty, of shape (1,), on the device `ctx` (the current one when None). Add it to the loss
    of each image, shape (N,), as Keras adds it to their mean: `Trainer.step(N)` divides by N what backward added up.
    """

    def __init__(self, block: Block, l2: float, *, factors: Optional[Mapping[str, float]] = None) -> None:
        parameters = block.collect_params()
        chosen = kernel_factors(parameters, l2, factors)
        self._terms = [(parameters[name], factor) for name, factor in chosen.items()]

    def __call__(self, ctx: Optional[mx.Context] = None) -> mx.nd.NDArray:
        """Return the penalty."""
        ctx = mx.current_context() if ctx is None else ctx
        total = mx.nd.zeros((1,), ctx=ctx)
        for parameter, factor in self._terms:
            total = total + factor * mx.nd.sum(mx.nd.square(parameter.data(ctx)))
        return total


def with_penalty(
    symbol: mx.sym.Symbol, l2: float, batch_size: int, *, factors: Optional[Mapping[str, float]] = None
) -> mx.sym.Symbol:
    """Return a training symbol with the penalty as one more output, `kernel_l2_output`, for `mx.mod.Module`.

    Further arguments as in `kernel_factors`. A module divides the gradients by `batch_size`, which is undone here.
    """
    internals = symbol.get_internals()
    terms: Any = mx.sym.zeros((1,))
    for name, factor in kernel_factors(symbol.list_arguments(), l2, factors).items():
        terms = terms + factor * mx.sym.sum(mx.sym.square(internals[name]))
    return mx.sym.Group([symbol, mx.sym.MakeLoss(terms, grad_scale=batch_size, name='kernel_l2')])
