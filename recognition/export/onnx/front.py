"""The front of an exported network: the preprocessing inside the file, and the part left to its caller.

Readers of ONNX files guess this from names. The package insightface gives pixels in 0..255 if the names of two of the
first eight nodes begin with `Sub` (or `_minus`) and `Mul` (or `_mul`), as in files of MXNet's own exporter, and else
(x - 127.5) / 127.5 (insightface 2.1, model_zoo/arcface_onnx.py). So the names here are a part of the format.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from config.errors import ConfigError, nearest
from recognition.checkpoint.layer_diff import REVERSAL, pixel_layers
from recognition.utils.pixels import CENTRED, RAW, Pixels
from symbols.ir.rewriter import Described, Draft, Entry, Moved, describe, rewrite
from symbols.passes.affine import read_linear

import mxnet as mx

INSIDE, OUTSIDE = 'inside', 'outside'
WANTED: Dict[str, Pixels] = {INSIDE: RAW, OUTSIDE: CENTRED}  # what the caller does to RGB in 0..255
READ_NODES = 8  # of a graph, whose names insightface reads
BEGINNINGS = ('Sub', '_minus', 'Mul', '_mul')

Values = Dict[str, np.ndarray]


class Step(NamedTuple):
    """An operator of ONNX on the pixels: the name of its node, and its number, or one for each channel of RGB."""

    operator: str
    name: str
    value: np.ndarray


class Front(NamedTuple):
    """A network without what it did to its pixels, and the steps that do it in the file."""

    symbol: mx.sym.Symbol
    values: Values
    steps: Tuple[Step, ...]


def check_pixels(pixels: str, *, uint8_nhwc: bool) -> None:
    """Raise ConfigError for another value than inside and outside, and for outside together with bytes."""
    if pixels not in WANTED:
        raise ConfigError(f'pixels={pixels!r} is not {" or ".join(WANTED)}{nearest(pixels, WANTED)}')
    if uint8_nhwc and pixels == OUTSIDE:
        raise ConfigError(
            "--uint8-nhwc (uint8_nhwc) and --pixels outside (pixels='outside') exclude each other: bytes cannot hold "
            '(x - 127.5) / 127.5'
        )


def take_front(symbol: mx.sym.Symbol, values: Mapping[str, np.ndarray], pixels: str) -> Front:
    """Return a network without its own (x - mean) * scale, and the steps that take its place in the file.

    inside: the file normalises; a network that takes pixels as they are gets a subtraction of 0 and a multiplication by
    1, since a reader that finds neither would normalise. outside: the file does what is left after CENTRED; a factor
    goes into the weights of the first convolution, where that alone reads the pixels.
    """
    graph = describe(symbol)
    last, own = pixel_layers(graph['nodes'])
    mean, scale = (np.asarray(each, np.float64) for each in own[:2])
    held = dict(values)
    backwards = own.order != RAW.order
    body = (
        symbol if last is None or graph['nodes'][last]['op'] == 'null' else _without(graph, last, backwards)
    )
    if pixels == OUTSIDE:
        # x = y / CENTRED.scale + CENTRED.mean, so that (x - mean) * scale = (y + shift) * factor
        shift, factor = (CENTRED.mean - mean) * CENTRED.scale, scale / CENTRED.scale
        folded = _into_convolution(body, held, factor)
        steps = [Step('Add', 'data_shifted', shift)] if shift.any() else []
        if folded is None and np.any(factor != 1):
            steps.append(Step('Mul', 'data_scaled', factor))
        held.update(folded or {})
    else:
        steps = [Step('Sub', 'Sub_mean', mean), Step('Mul', 'Mul_scale', scale)]
    return Front(body, held, tuple(_in_rgb(each) if backwards else each for each in steps))


def hide_arithmetic(model: Any) -> None:
    """Rename those of the first nodes by whose names a reader would take the normalisation to be inside."""
    for node in model.graph.node[:READ_NODES]:
        if node.name.startswith(BEGINNINGS):
            node.name = f'layer_{node.name}'


def _in_rgb(step: Step) -> Step:
    return step._replace(value=step.value[::-1]) if step.value.ndim else step


def _without(graph: Described, last: int, backwards: bool) -> mx.sym.Symbol:
    """Return the symbol whose layers read the input, with its channels in order, where they read the node `last`."""

    def put(draft: Draft, moved: Moved) -> Entry:
        data = draft.variable('data', {})
        return data if not backwards else draft.operator(REVERSAL, 'data_reversed', [data], axis='1')

    return rewrite(graph, {last: put})


def _into_convolution(symbol: mx.sym.Symbol, values: Values, factor: np.ndarray) -> Optional[Values]:
    """Return the values of the layer that alone reads the pixels with a factor taken in; None where there is none."""
    nodes = describe(symbol)['nodes']
    readers = _readers(nodes, pixel_layers(nodes)[0])
    if len(readers) != 1:
        return None
    names = [nodes[entry[0]]['name'] for entry in readers[0]['inputs']]
    weights = [entry[0] for entry in readers[0]['inputs'][1:]]
    if not set(names[1:]) <= values.keys() or any(len(_readers(nodes, each)) != 1 for each in weights):
        return None
    linear = read_linear(readers[0], names, values)
    if linear is None or readers[0]['op'] != 'Convolution':
        return None
    linear.scale_input(np.broadcast_to(factor, factor.shape or (1,)))
    return {name: value.astype(np.float32) for name, value in linear.values().items()}


def _readers(nodes: Sequence[Described], number: Optional[int]) -> List[Described]:
    return [node for node in nodes for entry in node['inputs'] if entry[0] == number]
