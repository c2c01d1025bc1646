"""Limits on a network's size, for a program that says no when one is passed."""

from __future__ import annotations

from typing import List, Optional

from recognition.reports.audit import largest
from symbols.audit.core import Audit
from symbols.audit.memory import Memory


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
