"""A network's layers as Keras's `model.summary()` prints them.

Shapes are channels-last. The parameters of a layer include moving statistics, which are not trainable; neither are
fixed gammas. Where neither of Keras's paddings ('same', 'valid') gives a layer's, a ZeroPadding2D comes before it, and
a Flatten before a dense layer on a feature map. Rows are in Keras's order, by the longest way to the output; of a
shortcut and a branch that are as far from it the shortcut comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from symbols.audit.core import Layer
from symbols.graph.layers import DENSE, WINDOWED, NetLayer
from symbols.ir.nodes import Shape, flag, read_attribute

HEAD = ('Layer (type)', 'Output Shape', 'Param #', 'Connected to')
# Activations that are no classes of layers in Keras, but arguments of one
ARGUMENTS = frozenset(['SELU', 'GELU', 'Swish', 'sigmoid', 'tanh', 'softrelu', 'softsign', 'hard_sigmoid'])
GAP = 2  # spaces between columns
NARROWEST_COLUMN = 12  # characters to which a column of names is folded at most
IMAGE_AXES = 4

Cells = Tuple[Sequence[str], ...]  # the lines of each column


@dataclass(frozen=True)
class Row:
    """A row of the summary; `shapes` are in Keras's layout, without the batch, `inputs` the numbers of rows before."""

    name: str
    type: str
    shapes: Tuple[Shape, ...]
    parameters: int = 0
    inputs: Tuple[int, ...] = ()


def keras_rows(layers: Sequence[NetLayer]) -> List[Row]:
    """Return the layers as Keras has them, in its order."""
    rows: List[Row] = []
    place: List[int] = []  # of each layer's row
    for layer in layers:
        inputs = tuple(place[i] for i, _ in layer.inputs)
        read = next((layers[i].shapes[output] for i, output in layer.inputs), ())
        for added in _before(layer, read):
            rows.append(replace(added, inputs=inputs))
            inputs = (len(rows) - 1,)
        kind = 'Activation' if layer.type in ARGUMENTS else layer.type
        shapes = tuple(_channels_last(shape, layer.layers) for shape in layer.shapes)
        size = layer.trainable + layer.fixed + layer.auxiliary
        rows.append(Row(layer.name, kind, shapes, size, inputs))
        place.append(len(rows) - 1)
    return _in_order(rows)


def keras_summary(network: str, layers: Sequence[NetLayer], width: Optional[int] = None) -> str:
    """Return the summary; where its lines are longer than `width` characters, names go below each other."""
    rows = keras_rows(layers)
    cells: List[Cells] = [tuple((title,) for title in HEAD)]
    for row in rows:
        shapes = [f'({", ".join(["None", *map(str, shape)])})' for shape in row.shapes]
        read = [rows[i].name for i in row.inputs] or ['-']
        cells.append(([f'{row.name} ({row.type})'], shapes, [f'{row.parameters:,}'], read))
    ends = [max(len(line) for cell in column for line in cell) + GAP for column in zip(*cells)]
    if width and sum(ends) > width:
        ends[0] = ends[3] = max(NARROWEST_COLUMN, (width - ends[1] - ends[2]) // 2)
        cells = [_folded(each, ends[0] - GAP) for each in cells]
    thin, thick = '_' * sum(ends), '=' * sum(ends)
    lines = [f'Model: "{network}"', thin, *_printed(cells[0], ends), thick]
    for number, each in enumerate(cells[1:], start=1):
        lines += [*_printed(each, ends), thick if number == len(rows) else thin]
    total = sum(row.parameters for row in rows)
    trainable = sum(layer.trainable for layer in layers)
    lines += [f'Total params: {total:,}', f'Trainable params: {trainable:,}']
    return '\n'.join([*lines, f'Non-trainable params: {total - trainable:,}', thin]) + '\n'


def _folded(cells: Cells, width: int) -> Cells:
    """Return the cells with the names in pieces of at most `width` characters, a layer's type below its name."""
    name, shapes, size, read = cells
    names, others = (
        [line[i : i + width] for line in lines for i in range(0, len(line), width)]
        for lines in (name[0].replace(' (', '\n(').split('\n'), read)
    )
    return names, shapes, size, others


def _printed(cells: Cells, ends: Sequence[int]) -> Iterator[str]:
    for i in range(max(map(len, cells))):
        parts = (cell[i] if i < len(cell) else '' for cell in cells)
        yield ''.join(part.ljust(end) for part, end in zip(parts, ends)).rstrip()


def _channels_last(shape: Shape, operators: Sequence[Layer]) -> Shape:
    """Return a shape in Keras's layout, without the batch."""
    last = any(each.attributes.get('layout', '').endswith('C') for each in operators)
    return tuple(shape[1:]) if last or len(shape) < IMAGE_AXES else (*shape[2:], shape[1])


def _before(layer: NetLayer, shape: Shape) -> Iterator[Row]:
    """Yield the layer that Keras needs between what gives this shape and this one, if any."""
    if layer.type == DENSE:
        first = layer.layers[0]
        if len(shape) > 2 and (len(layer.layers) > 1 or flag(first.attributes, 'flatten', True)):
            yield Row(f'{layer.name}_flatten', 'Flatten', ((prod(shape[1:]),),))
        return
    padded = _padded(layer.layers)
    if padded:
        yield Row(f'{layer.name}_pad', 'ZeroPadding2D', (padded,))


def _padded(operators: Sequence[Layer]) -> Shape:
    """Return the size that a 2-D layer's padding gives its input, in Keras's layout; () where Keras's own does."""
    window = next((each for each in operators if each.operator in WINDOWED), None)
    if window is None or window.operator == 'Deconvolution' or any(map(_is_unpadded, operators)):
        return ()
    image, output = operators[0].input_shapes[0], window.output_shapes[0]
    if len(image) != IMAGE_AXES:
        return ()
    pads = (read_attribute(each.attributes, 'pad_width') for each in operators if each.operator == 'Pad')
    widths = next(pads, (0,) * 2 * IMAGE_AXES)
    size, same, valid = [], [], []
    for axis in (0, 1):
        kernel, stride, dilation, pad = (
            read_attribute(window.attributes, key, (default, default))[axis]
            for key, default in (('kernel', 1), ('stride', 1), ('dilate', 1), ('pad', 0))
        )
        pixels, reach = image[2 + axis], (kernel - 1) * dilation + 1
        low, high = widths[4 + 2 * axis] + pad, widths[5 + 2 * axis] + pad
        size.append(pixels + low + high)
        steps = ceil(pixels / stride)
        missing = max((steps - 1) * stride + reach - pixels, 0)
        same.append((output[2 + axis], low) == (steps, missing // 2))
        valid.append((output[2 + axis], low) == ((pixels - reach) // stride + 1, 0))
    return () if all(same) or all(valid) else (*size, image[1])


def _is_unpadded(operator: Layer) -> bool:
    """Return whether no padding is shown: a global pooling, channels last, or mirrored, which makes 'same'."""
    attributes = operator.attributes
    whole = flag(attributes, 'global_pool', False) or attributes.get('layout', '').endswith('C')
    return whole or operator.operator == 'reverse'


def _in_order(rows: Sequence[Row]) -> List[Row]:
    """Return the rows as `Model.layers` has them: the farthest from the output first, then as Keras meets them.

    Keras goes from the outputs to the inputs, in the order in which a layer was called on them; a sum is taken to be
    called on the shorter way first.
    """
    depth: List[int] = []  # layers on the longest way from the input
    for row in rows:
        depth.append(max((depth[i] + 1 for i in row.inputs), default=0))
    inputs = [sorted(row.inputs, key=depth.__getitem__) if row.type == 'Add' else row.inputs for row in rows]
    height = [0] * len(rows)  # layers on the longest way to the output
    for number in reversed(range(len(rows))):
        for i in inputs[number]:
            height[i] = max(height[i], height[number] + 1)
    met: Dict[int, None] = {}  # an ordered set
    waiting = [number for number in reversed(range(len(rows))) if not height[number]]
    while waiting:
        number = waiting.pop()
        if number not in met:
            met[number] = None
            waiting += reversed(inputs[number])
    ordered = sorted(met, key=lambda number: -height[number])
    place = {number: i for i, number in enumerate(ordered)}
    return [replace(rows[number], inputs=tuple(place[i] for i in inputs[number])) for number in ordered]
