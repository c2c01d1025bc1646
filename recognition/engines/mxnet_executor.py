"""A network in MXNet as fast as it runs on a CPU: rewritten (`symbols.passes`) and bound, for batches of any size."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from recognition.checkpoint.matching import as_numpy, check_finite, check_fit
from recognition.checkpoint.network import Arrays, check_float32, load_embedding
from recognition.utils.files import PathLike
from recognition.utils.run_paths import params_path, symbol_path
from symbols.ir.padding import check_padding
from symbols.passes.optimize import optimize

import mxnet as mx

SIZES = 2  # batch sizes that are held ready


class Optimized(NamedTuple):
    """A network rewritten for inference: its symbol, and its values, float32 by name."""

    symbol: mx.sym.Symbol
    values: Dict[str, np.ndarray]


def load_optimized(
    prefix: PathLike,
    epoch: int,
    image_shape: Sequence[int] = (112, 112, 3),
    *,
    for_mxnet: bool = True,
    output: Optional[str] = None,
) -> Optimized:
    """Read a checkpoint and rewrite its embedding network, as `symbols.passes.optimize.optimize` does.

    image_shape: (H, W, C) of the images. output: the layer that gives the embedding, where that is not fc1. Raises
    CheckpointError as `recognition.checkpoint.load_network` does, and where a value is not finite; ConfigError for a
    network in float16.
    """
    saved = load_embedding(prefix, epoch, output)
    source, target = params_path(prefix, epoch), symbol_path(prefix)
    check_float32(saved.symbol, target)
    check_fit(saved.symbol, saved.values, image_shape=image_shape, source=source, target=target)
    check_padding(saved.symbol, image_shape)
    check_finite(saved.values, saved.values, source)
    values = {name: as_numpy(value) for name, value in saved.values.items()}
    height, width, channels = image_shape
    return Optimized(
        *optimize(saved.symbol, values, {'data': (1, channels, height, width)}, for_mxnet=for_mxnet)
    )


class Bound:
    """A symbol bound to its values on the CPU; one thread at a time may call it.

    MXNet then fuses convolutions with what follows them, which it does in no Gluon block.
    """

    def __init__(self, symbol: mx.sym.Symbol, values: Mapping[str, np.ndarray]) -> None:
        self._symbol = symbol
        self._arguments, self._auxiliary = on_cpu(symbol, values)
        self._executors: Dict[Tuple[int, ...], Any] = {}  # the last is the one that was used last

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Return what the symbol gives for float32 (N, C, H, W)."""
        executor = self._executor(data.shape)
        executor.arg_dict['data'][:] = data
        return np.asarray(executor.forward(is_train=False)[0].asnumpy())

    def _executor(self, shape: Tuple[int, ...]) -> Any:
        """Return the executor of a shape; all share the values, and the one that was not used longest goes first."""
        executor = self._executors.pop(shape, None)
        if executor is None:
            if len(self._executors) == SIZES:
                del self._executors[next(iter(self._executors))]
            arguments = {**self._arguments, 'data': mx.nd.zeros(shape)}
            executor = self._symbol.bind(mx.cpu(), arguments, grad_req='null', aux_states=self._auxiliary)
        self._executors[shape] = executor
        return executor


def on_cpu(symbol: mx.sym.Symbol, values: Mapping[str, np.ndarray]) -> Tuple[Arrays, Arrays]:
    """Return the values as MXNet's arrays by name: the arguments, and the auxiliary states."""
    auxiliary = set(symbol.list_auxiliary_states())
    parts: Tuple[Arrays, Arrays] = ({}, {})
    for name, value in values.items():
        parts[name in auxiliary][name] = mx.nd.array(value)
    return parts
