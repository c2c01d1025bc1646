"""The programs of the command `facesymbols`."""

from __future__ import annotations

from typing import List

__all__: List[str] = []
