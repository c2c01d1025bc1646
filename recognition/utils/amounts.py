"""Amounts as people write them: 8M, 1.5G, 200MB."""

from __future__ import annotations

import re
from typing import Mapping

from config.errors import ConfigError

FACTORS: Mapping[str, float] = {'': 1, 'K': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12}
AMOUNT = re.compile(r'(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]?)(B?)', re.IGNORECASE)


def parse_amount(option: str, text: str) -> int:
    """Return the number that '8M', '1.5G', '200MB' or '30000' spells, in powers of ten; ConfigError for other text."""
    match = AMOUNT.fullmatch(text.strip())
    if not match:
        raise ConfigError(f'{option} {text!r} is no amount; 8M, 1.5G, 200MB or 30000 say what is meant')
    return int(float(match.group(1)) * FACTORS[match.group(2).upper()])
