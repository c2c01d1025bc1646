"""The L2 factor of each kernel of a network, as Keras's kernel_regularizer gives it to convolutions."""

from __future__ import annotations

from typing import Any, Container, Dict, Iterable, Mapping, Optional, Set

from config.errors import ConfigError, first_few
from config.patterns import spread

KERNEL = '_weight'  # how the names of kernels end; biases, gammas, betas and slopes end otherwise
DENSE_AXES = 2  # of the weight of a fully connected layer


def kernel_factors(
    names: Iterable[str],
    l2: float,
    factors: Optional[Mapping[str, float]] = None,
    *,
    dense: Container[str] = (),
) -> Dict[str, float]:
    """Return the L2 factor of each kernel among the parameters `names`, without those whose factor is 0.

    Convolutions have `l2`, and the `dense` weights none. `factors` maps a regular expression, which a name has to begin
    with as in Gluon's `collect_params`, to the factor of those kernels in place of that, dense ones too; the first that
    fits counts. Raises ConfigError for a factor below 0, a pattern that is not one, and a pattern that fits no kernel.
    """
    given = dict(factors or {})
    for pattern, factor in {'l2': l2, **given}.items():
        if not 0 <= factor < float('inf'):
            raise ConfigError(f'the L2 factor {pattern}={factor!r} is not allowed: it must be 0 or more')
    kernels = [name for name in names if name.endswith(KERNEL)]
    chosen = {name: 0.0 if name in dense else l2 for name in kernels}
    chosen.update(spread(given, kernels, 'kernel'))
    return {name: factor for name, factor in chosen.items() if factor}


def dense_kernels(parameters: Mapping[str, Any]) -> Set[str]:
    """Return the weights of fully connected layers among Gluon's parameters, those with two axes.

    Raises ConfigError for a weight whose shape is not known yet.
    """
    kernels = {name: each.shape for name, each in parameters.items() if name.endswith(KERNEL)}
    unknown = [name for name, shape in kernels.items() if shape is None]
    if unknown:
        raise ConfigError(f'the shape of {first_few(unknown)} is not known yet; run the network once before')
    return {name for name, shape in kernels.items() if len(shape) == DENSE_AXES}
