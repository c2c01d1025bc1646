"""Optional packages, imported where they are needed."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Optional

from config.errors import MissingExtra

ROOT = Path(__file__).resolve().parents[2]  # of the checkout, or the folder of the installed packages


def install_command(*extras: str) -> str:
    """Return the command that installs extras of this package where it is: in a checkout, or from a wheel."""
    wanted = f'[{",".join(extras)}]' if extras else ''
    if not (ROOT / 'setup.py').is_file():
        return f"pip install 'facesymbols{wanted}'"
    place = os.path.relpath(ROOT) if Path.cwd() == ROOT else str(ROOT)
    return f"pip install -e '{place}{wanted}'"


def require(package: str, extra: str, purpose: str, *, command: Optional[str] = None) -> ModuleType:
    """Import a package that an extra brings; MissingExtra says what needs it and how to install it.

    purpose: what needs it, as the subject of the sentence ('a PDF'). command: installs it in place of the extra.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = package.partition('.')[0]
        how = command or install_command(extra)
        raise MissingExtra(f'{purpose} needs the package {name}: {how}') from error
