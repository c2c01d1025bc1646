"""The steps of a network laid on those of a file, from the input on, and the values that its parameters then have."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional

import numpy as np

from config.errors import CheckpointError
from recognition.weights.onnx.steps import COMMUTATIVE, LEAKY, LINEAR, NORM, PRELU, Graph, Step

# What an embedding is made of length 1 with behind the network.
NORMALISING = (
    *(
        'Mul',
        'ReduceSum',
        'ReduceL2',
        'LpNormalization',
        'Add',
        'Sqrt',
        'Div',
        'Clip',
        'Max',
        'Expand',
        'Pow',
    ),
    *('ReduceSumSquare', 'Abs'),
)

Values = Dict[str, np.ndarray]


class Difference(CheckpointError):
    """The first step of a network that a file does not have; `matched`: how many before it it has."""

    def __init__(self, matched: int, words: str) -> None:
        super().__init__(words)
        self.matched = matched


class Match(NamedTuple):
    """Which step of the file each of the network's is; None for a batch norm that was folded into its neighbours.

    end: the file's tensor that is the network's output. normalised: whether the file makes its embeddings of length 1
    behind that.
    """

    pairs: Dict[str, Optional[Step]]  # by the output of the network's
    end: str
    normalised: bool


def match(own: Graph, file: Graph, *, whole: bool = True) -> Match:
    """Find each step of a network in a file; whole: the file must have no more than those.

    Raises Difference at the first step that is not there.
    """
    readers, at = file.readers(), {own.input: file.input}
    pairs: Dict[str, Optional[Step]] = {}
    taken: List[str] = []
    for step in own.steps:
        sources = [at[name] for name in step.inputs]
        free = [each for each in readers.get(sources[0], []) if each.output not in taken]
        found = next((each for each in free if _fits(step, each, sources)), None)
        if found is None and step.op != NORM:
            raise Difference(
                len(pairs), f'{_there(step, free, sources)} where {{network}} has {_named(step)}'
            )
        pairs[step.output] = found
        at[step.output] = sources[0] if found is None else found.output
        taken += [found.output] if found else []
    rest = [step for step in file.steps if step.output not in taken]
    end = at[own.output]
    if not whole or (end == file.output and not rest):
        return Match(pairs, end, normalised=False)
    normalised = bool(rest) and all(step.op in NORMALISING for step in rest)
    # a Div by a constant has one input
    divided = any(
        end in step.inputs and (step.op == 'LpNormalization' or (step.op == 'Div' and len(step.inputs) == 2))
        for step in rest
    )
    if normalised and divided:
        return Match(pairs, end, normalised=True)
    more = _named(rest[0]) if len(rest) == 1 else f'{len(rest)} more steps, from {_named(rest[0])} on,'
    raise Difference(len(pairs), f'has {more} behind {_named(own.steps[-1])}, where {{network}} ends')


def _fits(own: Step, file: Step, sources: List[str]) -> bool:
    given = list(file.inputs)
    if own.op in COMMUTATIVE:
        given, sources = sorted(given), sorted(sources)
    if given != sources:
        return False
    if own.op == PRELU:  # whose slopes may be one for all channels, or a constant
        return file.op == LEAKY or (
            file.op == PRELU and file.settings['slopes'] in (1, own.settings['slopes'])
        )
    return own.op == file.op and own.settings == file.settings


def _there(step: Step, free: List[Step], sources: List[str]) -> str:
    """Return what a file has in the place of a step, of all that reads the same tensor: the likeliest first."""
    if not free:
        return f'ends at {sources[0]!r}'
    alike = next((each for each in free if each.op == step.op), free[0])
    if alike.words() != step.words():
        return f'has {_named(alike)}'
    given, wanted = (' and '.join(map(repr, names)) for names in (alike.inputs, sources))
    return f'has {_named(alike)} of {given}, not of {wanted},'


def _named(step: Step) -> str:
    return f'{step.name} ({step.words()})'


def assign(own: Graph, matched: Match) -> Values:
    """Return the values of the network's parameters by name, float32.

    A batch norm that was folded is open again: gamma 1, beta the bias that the layer before it has in the file and not
    in the network, mean 0 and variance 1 - eps. Its output is what it was, and it can be trained. Raises
    CheckpointError for a bias, or a gamma, that the network has no place for.
    """
    readers = own.readers()
    values: Values = {}
    shift: Dict[str, np.ndarray] = {}  # what a bias adds to a tensor, where a batch norm takes it up
    for step in own.steps:
        found = matched.pairs[step.output]
        if step.op in LINEAR and found is not None:
            behind = readers.get(step.output, [])
            norm = behind[0] if len(behind) == 1 and behind[0].op == NORM else None
            bias = found.held.get('bias', np.zeros(step.settings['outputs'], np.float32))
            values[step.held['weight']] = found.held['weight']
            if 'bias' in step.held:  # a batch norm behind it that begins with beta 0 trains better
                values[step.held['bias']] = bias
            elif norm is not None:
                shift[step.output] = bias
            elif bias.any():
                raise CheckpointError(
                    f'has a bias in {found.name}, for which {{network}} has none in {step.name}'
                )
        elif step.op == NORM:
            values.update(_norm(step, found, shift.get(step.inputs[0])))
        elif step.op == PRELU and found is not None:
            slopes = found.held.get('slope', found.settings.get('alpha'))
            values[step.held['slope']] = np.full(step.settings['slopes'], np.ravel(slopes), np.float32)
    return values


def _norm(step: Step, found: Optional[Step], shift: Optional[np.ndarray]) -> Values:
    """Return the values of a batch norm; shift: a bias of the layer before it."""
    nothing = np.zeros(step.settings['channels'])
    added = nothing if shift is None else shift.astype(np.float64)
    if found is None:
        held = {'gamma': nothing + 1, 'beta': added, 'mean': nothing, 'variance': nothing + 1 - step.eps}
    else:
        held = {role: array.astype(np.float64) for role, array in found.held.items()}
        held['mean'] = held['mean'] - added
        _fit_variance(step, found, held)
    return {step.held[role]: array.astype(np.float32) for role, array in held.items()}


def _fit_variance(step: Step, found: Step, held: Values) -> None:
    """Let the variance make up for another eps, and for a gamma where the network has it fixed at 1."""
    factor = held['gamma'] if step.fixed else np.ones_like(held['gamma'])
    if found.eps == step.eps and (factor == 1).all():
        return
    if (factor <= 0).any():
        raise CheckpointError(
            f'has a gamma in {found.name} that is not above 0, and {{network}} has 1 in {step.name}'
        )
    variance = (held['variance'] + found.eps) / factor**2 - step.eps
    if (variance < 0).any():
        raise CheckpointError(
            f'has variances in {found.name} that are too small for the eps {step.eps:g} that {{network}} has there; '
            f'--config bn_eps={found.eps:g} fits'
        )
    held['variance'] = variance
    if step.fixed:
        held['gamma'] = np.ones_like(factor)
