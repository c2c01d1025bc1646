"""Shape inference that prints nothing: what is wrong stands in the error, in one sentence."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from typing import Dict, Iterator, NamedTuple, Sequence, Tuple

from config.errors import ConfigError

import mxnet as mx

Shape = Tuple[int, ...]
NOISE = re.compile(
    r'^\w*Error: |\[[\d:]+\] \S+:\d+: |Check failed: '
)  # kind, time and source line, C++ macro
LONGEST = 160


class Shapes(NamedTuple):
    """Every shape of a symbol: arguments and auxiliary states by name, outputs in their order."""

    arguments: Dict[str, Shape]
    outputs: Tuple[Shape, ...]
    auxiliary: Dict[str, Shape]


def infer_shapes(symbol: mx.sym.Symbol, **shapes: Sequence[int]) -> Shapes:
    """Infer all shapes of a symbol from those of its inputs, batch axis included.

    Raises ConfigError when the shapes contradict the graph, or when they are too few to know all others.
    """
    given = {name: tuple(shape) for name, shape in shapes.items()}
    text = ', '.join(f'{name} {shape}' for name, shape in given.items()) or 'none'
    try:
        with quiet():
            arguments, outputs, auxiliary = symbol.infer_shape(**given)
    except mx.MXNetError as error:
        raise ConfigError(f'the shapes {text} do not fit the graph: {reason_of(error)}') from error
    if outputs is None:
        raise ConfigError(f'the shapes {text} do not tell the shape of every parameter and output')
    return Shapes(
        dict(zip(symbol.list_arguments(), map(tuple, arguments))),
        tuple(map(tuple, outputs)),
        dict(zip(symbol.list_auxiliary_states(), map(tuple, auxiliary))),
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what mxnet warns, and prints to stdout, beside the error that it raises."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield


def reason_of(error: BaseException) -> str:
    """Return the line of an error that says what is wrong, without MXNet's stack, time stamp and source line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = next((line for line in lines if 'Error in operator' in line or 'Check failed' in line), lines[-1])
    return ' '.join(NOISE.sub('', line).split())[:LONGEST].rstrip(': ')
