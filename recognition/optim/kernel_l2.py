"""Keras's kernel_regularizer on every Conv2D: an L2 penalty on the weights of convolutions, as a term of the loss.

    penalty = KernelL2(net, 1e-4, factors={'conv5_': 1e-3, 'fc1_': 1e-4})
    with mx.autograd.record():
        loss = criterion(net(images), labels) + penalty()

A dense layer has no penalty unless `factors` names it. The config keys kernel_l2 and kernel_l2_factors have the same
effect without the term, as a share of the weight decay. With this class set wd to 0, or the weights are decayed twice.
The factor is Keras's: l2 * sum(w * w), whose gradient is 2 * l2 * w.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

from symbols.ir.kernels import dense_kernels, kernel_factors
from symbols.ir.rewriter import describe

import mxnet as mx
from mxnet.gluon import Block


class KernelL2:
    """The penalty of a Gluon block: the sum of factor * sum(w * w) over its kernels; arguments as `kernel_factors`.

    Calling it returns the penalty, of shape (1,), on the device `ctx` (the current one when None). Add it to the loss
    of each image, shape (N,), as Keras adds it to their mean: `Trainer.step(N)` divides by N what backward added up.
    """

    def __init__(self, block: Block, l2: float, *, factors: Optional[Mapping[str, float]] = None) -> None:
        parameters = block.collect_params()
        chosen = kernel_factors(parameters, l2, factors, dense=dense_kernels(parameters))
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
    internals, nodes = symbol.get_internals(), describe(symbol)['nodes']
    weights = [nodes[node['inputs'][1][0]] for node in nodes if node['op'] == 'FullyConnected']
    while any(node['inputs'] for node in weights):  # of length 1, say, before it is multiplied
        weights = [nodes[node['inputs'][0][0]] if node['inputs'] else node for node in weights]
    dense = {node['name'] for node in weights}
    terms: Any = mx.sym.zeros((1,))
    for name, factor in kernel_factors(symbol.list_arguments(), l2, factors, dense=dense).items():
        terms = terms + factor * mx.sym.sum(mx.sym.square(internals[name]))
    return mx.sym.Group([symbol, mx.sym.MakeLoss(terms, grad_scale=batch_size, name='kernel_l2')])
