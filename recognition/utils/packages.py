"""Optional packages, imported where they are needed."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from shlex import quote
from types import ModuleType
from typing import Iterable, List, Optional

from config.errors import MissingExtra

NUMPY_2_ALONE = (3, 13)  # the first Python without a numpy that mxnet's requirements allow
# A line of the metadata: the requirement, the Pythons that it is for where they are named, and the extra.
EXTRA = re.compile(r'(.*?)(?:; python_version (<|>=) ["\']3\.(\d+)["\'] and |; )extra == ["\'](.*)["\']')
ROOT = Path(__file__).resolve().parents[2]  # of the checkout, or the folder of the installed packages


def install_command(*extras: str) -> str:
    """Return the command that installs extras of this package where it is: in a checkout, or from a wheel.

    Beside numpy 2 on a Python that has numpy 1, too, it names the packages alone: with this package, which
    requires mxnet, pip would replace numpy.
    """
    packages = _packages(extras) if sys.version_info < NUMPY_2_ALONE else []
    if packages:
        return f'pip install {" ".join(map(quote, packages))}'
    wanted = f'[{",".join(extras)}]' if extras else ''
    if not (ROOT / 'setup.py').is_file():
        return f"pip install 'facesymbols{wanted}'"
    place = os.path.relpath(ROOT) if Path.cwd() == ROOT else str(ROOT)
    return f"pip install -e '{place}{wanted}'"


def _packages(extras: Iterable[str]) -> List[str]:
    """Return what extras of this package ask for on this Python, where it is installed beside numpy 2."""
    try:
        lines = (requires('facesymbols') or []) if int(version('numpy').partition('.')[0]) >= 2 else []
    except PackageNotFoundError:
        return []
    minor = sys.version_info[1]
    found = []
    for match in filter(None, map(EXTRA.fullmatch, lines)):
        requirement, order, number, extra = match.groups()
        if extra in extras and (order is None or (minor < int(number)) == (order == '<')):
            found.append(requirement)
    return found


def require(package: str, extra: str, purpose: str, *, command: Optional[str] = None) -> ModuleType:
    """Import a package that an extra brings; MissingExtra says what needs it and how to install it.

    purpose: what needs it, as the subject of the sentence ('a PDF'). command: installs it in place of the extra.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = package.partition('.')[0]
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if (
            not missing or missing.partition('.')[0] != name
        ):  # it is there, and does not fit what is around it
            said = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
            raise MissingExtra(
                f'{purpose} needs the package {name}, which cannot be imported ({said}): `facesymbols doctor` has the '
                'command that mends it'
            ) from error
        how = command or install_command(extra)
        raise MissingExtra(f'{purpose} needs the package {name}: {how}') from error
