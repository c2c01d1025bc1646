"""What a tool is to write: the options that say it, and what is refused before any work is done for it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Iterable, Sequence

from config.errors import CheckpointError
from recognition.utils.files import PathLike


def add_output_options(parser: argparse.ArgumentParser, metavar: str, help_text: str) -> None:
    """Add --output and --overwrite, which `check_outputs` is for."""
    parser.add_argument('--output', required=True, metavar=metavar, help=help_text)
    parser.add_argument('--overwrite', action='store_true', help='replace what is there under that name')


def check_outputs(files: Iterable[Path], *, overwrite: bool, sources: Sequence[PathLike] = ()) -> None:
    """Raise CheckpointError where one of the files cannot be written, or may not be replaced.

    sources: what is read, which is never replaced; overwrite: whether other files are.
    """
    read = {os.path.realpath(source) for source in sources}
    for file in files:
        if os.path.realpath(file) in read:
            raise CheckpointError(f'{file} is a file of the network that is read; choose another --output')
        if file.is_dir():
            raise CheckpointError(f'{file} is a folder; choose another --output')
        if os.path.lexists(file) and not overwrite:
            raise CheckpointError(f'{file} is there already; choose another --output, or --overwrite it')
        _check_folder(file)


def _check_folder(file: Path) -> None:
    """Raise CheckpointError where neither the file's folder nor the one that it would be made in takes files."""
    there = next(each for each in file.absolute().parents if os.path.lexists(each))
    if not there.is_dir():
        raise CheckpointError(f'{file} cannot be written: {there} is no folder')
    if not os.access(there, os.W_OK | os.X_OK):
        raise CheckpointError(f'{file} cannot be written: nothing may be written into {there}')
