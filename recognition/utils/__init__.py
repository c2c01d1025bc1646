"""Helpers of every room: files, checksums, paths of a run, processes."""

from __future__ import annotations

from typing import List

__all__: List[str] = []
