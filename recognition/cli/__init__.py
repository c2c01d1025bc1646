"""Command-line helpers; `run` is imported before all else."""

from __future__ import annotations

from recognition.cli.program import run

__all__ = ['run']
