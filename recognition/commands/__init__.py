"""The programs of the command `facesymbols`, one file each."""

from __future__ import annotations

from recognition.commands.main import main

__all__ = ['main']
