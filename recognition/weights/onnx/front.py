"""What a graph does to the pixels before its first layer, and the settings of a network that does the same inside."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

from config.errors import CheckpointError
from recognition.weights.onnx.steps import Graph, Step, rounded

Numbers = Union[float, Tuple[float, ...]]
PLANES = (0, 3, 1, 2)  # of a Transpose: (N, H, W, C) to (N, C, H, W)


class Front(NamedTuple):
    """(x - mean) * scale, of channels in `order`."""

    mean: Numbers = 0.0
    scale: Numbers = 1.0
    order: str = 'rgb'

    def settings(self) -> Dict[str, Any]:
        """Return it as keys of the config."""
        return {'input_mean': self.mean, 'input_scale': self.scale, 'input_order': self.order}

    def words(self) -> str:
        """Return the formula."""
        turned = ' of BGR' if self.order == 'bgr' else ''
        return f'(x - {self.mean}) * {self.scale}{turned}'

    def after(self, first: Front) -> Front:
        """Return what both do, one after the other."""
        if self.order == 'bgr':
            first = first.turned()
        mean = _each(lambda m, s, then: m + then / s, first.mean, first.scale, self.mean)
        return Front(mean, _each(lambda s, then: s * then, first.scale, self.scale), first.order)

    def turned(self) -> Front:
        """Return it with the channels in the other order."""
        order = 'rgb' if self.order == 'bgr' else 'bgr'
        return Front(_reversed(self.mean), _reversed(self.scale), order)


RAW = Front()


def split_front(graph: Graph) -> Tuple[Front, Graph]:
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


def _apply(front: Front, step: Step) -> Optional[Front]:
    if step.op == 'Transpose' and tuple(step.settings.get('perm', ())) == PLANES:
        return front
    if step.op == 'Reverse' and step.settings['axes'] == (1,):
        return front.turned()
    constant = step.settings.get('constant')
    if step.op not in ('Sub', 'Add', 'Mul', 'Div') or not constant or step.settings.get('first'):
        return None
    if len(constant) not in (1, 3) or (step.op in ('Mul', 'Div') and 0 in constant):
        raise CheckpointError(f'has {step.name} ({step.words()}) before its first layer, which is not read')
    if step.op in ('Sub', 'Add'):
        sign = 1 if step.op == 'Sub' else -1
        return front._replace(mean=_each(lambda m, c, s: m + sign * c / s, front.mean, constant, front.scale))
    if step.op == 'Mul':
        return front._replace(scale=_each(lambda s, c: s * c, front.scale, constant))
    return front._replace(scale=_each(lambda s, c: s / c, front.scale, constant))


def _reversed(numbers: Numbers) -> Numbers:
    return numbers[::-1] if isinstance(numbers, tuple) else numbers


def _each(rule: Any, *numbers: Any) -> Numbers:
    """Apply a rule to numbers of all channels or of each; one number where all are alike."""
    lists = [each if isinstance(each, tuple) else (each,) for each in numbers]
    count = max(map(len, lists))
    found = tuple(rule(*row) for row in zip(*(each * count if len(each) == 1 else each for each in lists)))
    shown = tuple(rounded(each) for each in found)
    return shown[0] if len(set(shown)) == 1 else shown
