"""How a network runs in training: whole, or in segments whose inside is made again for its gradient.

Source of the latter: Chen et al. 2016, 'Training Deep Nets with Sublinear Memory Cost'. MXNet's own switch for it,
MXNET_BACKWARD_DO_MIRROR, saves next to nothing on these networks.
"""

from __future__ import annotations

import ctypes
from typing import Any, List, Mapping, Optional, Protocol, Sequence, Tuple

import numpy as np

from symbols.passes.prelu import for_training
from symbols.passes.segments import Segment, cut

import mxnet as mx
from mxnet import autograd, gluon

SEEDS = 2**31 - 1
# How glibc, which mxnet's wheels for Linux need, keeps what segments free, for the next ones to use: by mallopt's
# numbers. What goes back to the system costs a fault for each of its pages when it is wanted again, which for all
# arrays would take as long as the arithmetic. So it all stays, but for one time in a backward: where the arrays become
# large, as they are near the input, what the smaller ones behind them have left in pieces is of no use to them.
MALLOC = {'M_ARENA_MAX': (-8, 1), 'M_MMAP_MAX': (-4, 0), 'M_TRIM_THRESHOLD': (-1, 2000 << 20)}
LARGE = 0.8  # of the largest array of all
DATA = 'data'

# the input of a segment, and the seed of its random numbers where it draws any
Kept = Tuple[mx.nd.NDArray, Optional[int]]


class Pass(Protocol):
    """A network under training."""

    def __call__(self, data: mx.nd.NDArray) -> mx.nd.NDArray:
        """Return the embeddings (N, emb_size) of images (N, C, H, W); where autograd records, for `backward`."""

    def backward(self) -> None:
        """Finish the gradients of the parameters, when autograd has run backward from the embeddings."""


def build_pass(
    net: gluon.SymbolBlock, symbol: mx.sym.Symbol, cfg: Any, contexts: Sequence[mx.Context]
) -> Pass:
    """Return the way that `cfg` says to train the network `net` of `symbol`, whose parameters it shares.

    On CPUs every PReLU is in the form that is fastest there. Reads cfg.image_shape, recompute and fp16.
    """
    height, width, channels = cfg['image_shape']
    shapes = {DATA: (1, channels, height, width)}
    constants: Mapping[str, np.ndarray] = {}
    if not cfg['fp16'] and all(context.device_type == 'cpu' for context in contexts):
        symbol, constants = for_training(symbol, shapes)
    params = _with_constants(net, constants, contexts)
    if cfg['recompute']:
        return Recomputed(cut(symbol, shapes, constants=constants), params)
    return Whole(symbol, params)


class Whole:
    """Keeps all that the gradient needs."""

    def __init__(self, symbol: mx.sym.Symbol, params: gluon.ParameterDict) -> None:
        self._block = _block(symbol, DATA, params)

    def __call__(self, data: mx.nd.NDArray) -> mx.nd.NDArray:
        """Run the network."""
        return self._block(data)

    def backward(self) -> None:
        """Do nothing, as autograd has done it all."""


class Recomputed:
    """Keeps what passes from a segment to the next, and runs each segment a second time before its gradient.

    Random numbers are the same the second time, and moving statistics change once, as they are written in backward.
    """

    def __init__(self, segments: Sequence[Segment], params: gluon.ParameterDict) -> None:
        self._libc = _settle_malloc()
        self.segments = list(segments)
        self._growth = find_growth(segments)
        self._blocks = [_block(each.symbol, each.input, params) for each in segments]
        trained = [any(each.grad_req != 'null' for each in _parameters(block)) for block in self._blocks]
        self._first = trained.index(True)  # what is before it has no gradient
        self._calls: List[List[Kept]] = []

    def __call__(self, data: mx.nd.NDArray) -> mx.nd.NDArray:
        """Run all segments; the last one alone is recorded."""
        kept: List[Kept] = []
        with autograd.pause(train_mode=autograd.is_training()):
            for segment, block in zip(self.segments[:-1], self._blocks):
                seed = _draw() if segment.random else None
                kept.append((data, seed))
                data = _run(block, data, seed)
        if autograd.is_recording():
            if kept and self._first < len(kept):
                data.attach_grad()
            self._calls.append([*kept, (data, None)])
        return self._blocks[-1](data)

    def backward(self) -> None:
        """Take the gradients of all calls on to the parameters, from the last segment but one to the first."""
        for kept in self._calls:
            for number in range(len(kept) - 2, self._first - 1, -1):
                gradient = kept.pop()[0].grad
                data, seed = kept[-1]
                if number == self._growth and self._libc:
                    self._libc.malloc_trim(0)
                if number > self._first:
                    data.attach_grad()
                with autograd.record():
                    output = _run(self._blocks[number], data, seed)
                output.backward(gradient)
                del output, gradient
                mx.nd.waitall()  # the engine is not let run ahead, or it would hold several segments at once
        self._calls = []


def find_growth(segments: Sequence[Segment]) -> Optional[int]:
    """Return the last segment with LARGE arrays; None where none without them comes after it."""
    enough = LARGE * max(each.largest for each in segments)
    number = max(number for number, each in enumerate(segments) if each.largest >= enough)
    return number if number + 1 < len(segments) else None


def _settle_malloc() -> Optional[ctypes.CDLL]:
    """Have this process keep freed memory as MALLOC says, and return the library that does; None without glibc."""
    library = ctypes.CDLL(None)
    if not hasattr(library, 'mallopt'):
        return None
    for number, value in MALLOC.values():
        library.mallopt(number, value)
    return library


def _with_constants(
    net: gluon.SymbolBlock, constants: Mapping[str, np.ndarray], contexts: Sequence[mx.Context]
) -> gluon.ParameterDict:
    """Return the parameters of `net` and, beside them, constants."""
    params = gluon.ParameterDict()
    params.update(net.collect_params())
    for name, value in constants.items():
        constant = params.get(name, shape=value.shape, grad_req='null')
        constant.initialize(ctx=list(contexts))
        constant.set_data(mx.nd.array(value))
    return params


def _block(symbol: mx.sym.Symbol, data: str, params: gluon.ParameterDict) -> gluon.SymbolBlock:
    block = gluon.SymbolBlock(symbol, mx.sym.var(data, dtype='float32'), params=params)
    block.hybridize()  # static_alloc takes twice the memory, for some percent of the time
    return block


def _parameters(block: gluon.SymbolBlock) -> List[gluon.Parameter]:
    return list(block.collect_params().values())


def _run(block: gluon.SymbolBlock, data: mx.nd.NDArray, seed: Optional[int]) -> mx.nd.NDArray:
    if seed is not None:
        mx.random.seed(seed)
    output = block(data)
    output.wait_to_read()
    return output


def _draw() -> int:
    """Return a seed that follows from mxnet's own."""
    return int(mx.nd.random.randint(0, SEEDS).asscalar())
