"""How pictures tell names and amounts: counts with three digits, shares, sizes, what a box holds and costs."""

from __future__ import annotations

from typing import Optional

from config.errors import first_few
from symbols.graph.model import Box, Graph
from symbols.ir.nodes import Shape


def inputs(graph: Graph) -> str:
    """Return 'input data 1×3×112×112'."""
    return 'input ' + ', '.join(f'{name} {size(shape, True)}' for name, shape in graph.inputs.items())


def totals(graph: Graph) -> str:
    """Return '1,234 parameters, 56 auxiliary values, 7.89 G multiply-accumulates (MACs)'."""
    macs = 'an unknown number of' if graph.macs is None else number(graph.macs)
    held = f'{graph.parameters:,} parameters, {graph.auxiliary:,} auxiliary values'
    return f'{held}, {macs} multiply-accumulates (MACs)'


def cost(box: Box, graph: Graph) -> str:
    """Return '590 K parameters (12 %), 231 M MACs (9 %)'."""
    parts = []
    if box.parameters:
        parts.append(f'{number(box.parameters)} parameters{share(box.parameters, graph.parameters)}')
    if box.macs is None:
        parts.append('MACs unknown')
    elif box.macs:
        parts.append(f'{number(box.macs)} MACs{share(box.macs, graph.macs)}')
    text = ', '.join(parts)
    return f'all {box.repeat} together: {text}' if text and box.repeat > 1 else text


def shared_note(box: Box) -> str:
    """Return which parameters a box uses that are counted elsewhere."""
    return f'shares {first_few(box.shared, 2)}'


def share(part: int, whole: Optional[int]) -> str:
    """Return ' (12 %)', '' where the whole is unknown."""
    if not whole:
        return ''
    percent = 100 * part / whole
    return f' ({percent:.0f} %)' if percent >= 1 else ' (<1 %)'


def number(value: int) -> str:
    """Return a count with three significant digits and K, M or G."""
    if value < 1000:
        return str(value)
    mantissa, exponent = f'{value:.2e}'.split('e')  # rounds first, so that 999,999 is 1.00 M and not 1000 K
    thousands, places = divmod(int(exponent), 3)
    thousands, places = (3, int(exponent) - 9) if thousands > 3 else (thousands, places)
    return f'{float(mantissa) * 10**places:.{max(0, 2 - places)}f} {" KMG"[thousands]}'


def size(shape: Shape, batch: bool) -> str:
    """Return '64×56×56', with the batch axis in front where it is not 1."""
    told = shape if batch or len(shape) < 2 else shape[1:]
    return '×'.join(map(str, told))


def printable(words: str) -> str:
    """Return words with spaces for what no font shows: control characters, bytes that are no text."""
    return ''.join(c if c.isprintable() else ' ' for c in words)
