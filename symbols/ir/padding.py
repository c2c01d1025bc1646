"""TensorFlow's padding='same', and the check that a symbol which has it gets maps it was built for.

Around a map of an even size TensorFlow puts one pixel more behind than before where a layer halves it. A symbol holds
numbers of pixels, so that a convolution is right for the sizes alone that are padded as the one it was built for.
"""

from __future__ import annotations

from typing import Mapping, Sequence, Tuple

from config.errors import ConfigError
from symbols.ir.nodes import Node, list_nodes, read_attribute
from symbols.ir.rewriter import attributes_by_name

import mxnet as mx

Sides = Tuple[int, int]  # pixels before and behind
SAME = {'__padding__': 'tf_same'}  # attributes of a convolution that pads so, and of the Pad before it


def same_pads(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> Tuple[Sides, ...]:
    """Return the pixels of padding before and behind each axis of a map of that size."""
    totals = (max((-(-n // step) - 1) * step + wide - n, 0) for n, wide, step in zip(size, kernel, stride))
    return tuple((total // 2, total - total // 2) for total in totals)


def pads_of(attributes: Mapping[str, str], before: Mapping[str, str]) -> Tuple[Sides, ...]:
    """Return the pixels that a convolution adds, with those of the Pad before it (its attributes, else {})."""
    kernel = read_attribute(attributes, 'kernel')
    own = read_attribute(attributes, 'pad') or (0,) * len(kernel)
    given = read_attribute(before, 'pad_width', (0, 0) * (2 + len(kernel)))[4:]
    return tuple((pad + given[2 * i], pad + given[2 * i + 1]) for i, pad in enumerate(own))


def check_padding(symbol: mx.sym.Symbol, image_shape: Sequence[int]) -> None:
    """Raise ConfigError where a convolution pads as TensorFlow, but not a map of the size that it gets.

    image_shape: (H, W, C) of the input `data`.
    """
    if not any(SAME.items() <= each.items() for each in attributes_by_name(symbol).values()):
        return
    height, width, channels = image_shape
    nodes = list_nodes(symbol, {'data': (1, channels, height, width)})
    for node in nodes:
        if node.operator == 'Convolution' and SAME.items() <= node.attributes.items():
            _check_convolution(node, nodes)


def _check_convolution(node: Node, nodes: Sequence[Node]) -> None:
    source = nodes[node.inputs[0][0]]
    before = source.attributes if source.operator == 'Pad' else {}
    size = nodes[source.inputs[0][0]].output_shapes[0][2:] if before else source.output_shapes[0][2:]
    kernel = read_attribute(node.attributes, 'kernel')
    stride = read_attribute(node.attributes, 'stride') or (1,) * len(kernel)
    if pads_of(node.attributes, before) != same_pads(size, kernel, stride):
        raise ConfigError(
            f"{node.name} pads as TensorFlow (padding='tf_same') for maps of another size than "
            f'{"x".join(map(str, size))}; build the network with the image_shape that it gets'
        )
