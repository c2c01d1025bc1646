"""What a graph does to the pixels before its first layer."""

from __future__ import annotations

from typing import List, Optional, Tuple

from config.errors import CheckpointError
from recognition.utils.pixels import ARITHMETIC, RAW, Pixels
from recognition.weights.onnx.steps import Graph, Step, rounded

PLANES = (0, 3, 1, 2)  # of a Transpose: (N, H, W, C) to (N, C, H, W)


def split_front(graph: Graph) -> Tuple[Pixels, Graph]:
    """Return what a graph does to its input, and the graph behind that.

    Raises CheckpointError for a number of channels that is neither one nor the three of RGB.
    """
    readers = graph.readers()
    front, at, dropped = RAW, graph.input, []
    while True:
        readers_here = readers.get(at, [])
        after = _apply(front, readers_here[0]) if len(readers_here) == 1 else None
        if after is None:
            break
        front, at = after, readers_here[0].output
        dropped.append(readers_here[0])
    kept: List[Step] = [step for step in graph.steps if step not in dropped]
    return front, Graph(kept, at, graph.output)


def _apply(front: Pixels, step: Step) -> Optional[Pixels]:
    if step.op == 'Transpose' and tuple(step.settings.get('perm', ())) == PLANES:
        return front
    if step.op == 'Reverse' and step.settings['axes'] == (1,):
        return front.turned()
    constant = step.settings.get('constant')
    if step.op not in ARITHMETIC or not constant or step.settings.get('first'):
        return None
    if len(constant) not in (1, 3) or (step.op in ('Mul', 'Div') and 0 in constant):
        raise CheckpointError(f'has {step.name} ({step.words()}) before its first layer, which is not read')
    after = front.then(step.op, constant)
    mean, scale = (
        tuple(map(rounded, each)) if isinstance(each, tuple) else rounded(each) for each in after[:2]
    )
    return Pixels(mean, scale, after.order)
