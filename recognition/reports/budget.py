"""Limits on a network's size, for a program that says no when one is passed."""

from __future__ import annotations

import re
from typing import List, Mapping, Optional

from config.errors import ConfigError
from recognition.reports.audit import largest
from symbols.audit.core import Audit
from symbols.audit.memory import Memory

FACTORS: Mapping[str, float] = {'': 1, 'K': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12}
AMOUNT = re.compile(r'(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]?)(B?)', re.IGNORECASE)


def parse_amount(option: str, text: str) -> int:
    """Return the number that '8M', '1.5G', '200MB' or '30000' spells, in powers of ten; ConfigError for other text."""
    match = AMOUNT.fullmatch(text.strip())
    if not match:
        raise ConfigError(f'{option} {text!r} is no amount; 8M, 1.5G, 200MB or 30000 say what is meant')
    return int(float(match.group(1)) * FACTORS[match.group(2).upper()])


def over_budget(
    audited: Audit,
    memory: Memory,
    *,
    parameters: Optional[int] = None,
    flops: Optional[int] = None,
    memory_limit: Optional[int] = None,
) -> List[str]:
    """Return a sentence for each limit that is passed, with the largest layers.

    memory_limit: bytes of an inference at the batch size of the audit. A network with layers whose multiply-accumulates
    no rule knows is over every limit of them.
    """
    said = []
    total = audited.total
    if parameters is not None and total.parameters > parameters:
        said.append(_sentence(f'{total.parameters:,} parameters', parameters, audited, 'parameters'))
    if flops is not None and audited.uncounted:
        names = ', '.join(sorted({layer.operator for layer in audited.uncounted}))
        said.append(f'the multiply-accumulates of {names} are not known, so no limit on them can be kept')
    elif flops is not None and total.flops > flops:
        said.append(_sentence(f'{total.flops:,} multiply-accumulates', flops, audited, 'flops'))
    if memory_limit is not None and memory.inference > memory_limit:
        said.append(_sentence(f'{memory.inference:,} bytes of an inference', memory_limit, audited, 'bytes'))
    return said


def _sentence(amount: str, limit: int, audited: Audit, what: str) -> str:
    return f'{amount} are more than {limit:,}; the largest layers are {", ".join(largest(audited, what))}'
