"""Regular expressions that choose parameters by how their names begin, as Gluon's `collect_params` takes them."""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Mapping, Sequence

from config.errors import ConfigError, first_few


def fitting(pattern: str, names: Iterable[str], what: str = 'parameter') -> List[str]:
    """Return the names that begin with a pattern; ConfigError, with the first names, where none does."""
    names = list(names)
    try:
        found = [name for name in names if re.match(pattern, name)]
    except re.error as error:
        raise ConfigError(f'{pattern!r} is not a regular expression: {error}') from None
    if not found:
        raise ConfigError(f'no {what} has a name that begins with {pattern!r}; there are {first_few(names)}')
    return found


def as_factors(items: Sequence[str]) -> Dict[str, float]:
    """Return items 'REGEX=NUMBER' as pattern -> number."""
    factors: Dict[str, float] = {}
    for pattern, _, number in (item.rpartition('=') for item in items):
        factors.setdefault(pattern, float(number))
    return factors


def spread(factors: Mapping[str, float], names: Sequence[str], what: str = 'parameter') -> Dict[str, float]:
    """Return the factor of each name that begins with one of the patterns; the first that fits counts."""
    chosen: Dict[str, float] = {}
    for pattern, factor in reversed(list(factors.items())):
        chosen.update(dict.fromkeys(fitting(pattern, names, what), factor))
    return chosen
