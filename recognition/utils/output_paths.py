"""Outputs are checked before any work is done for them, and replaced only when that is asked for."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Iterable, Sequence

from config.errors import ConfigError, first_few
from recognition.utils.files import PathLike


def check_outputs(
    files: Iterable[PathLike],
    *,
    overwrite: bool,
    sources: Sequence[PathLike] = (),
    option: str = '--output',
) -> None:
    """Raise ConfigError where one of the files cannot be written, or exists and may not be replaced.

    Parameters
    ----------
    files : iterable of path
        What is to be written.
    overwrite : bool
        Whether files that exist are replaced.
    sources : sequence of path
        What is read, which is never replaced.
    option : str
        Of the command line, which names another place.
    """
    read = {os.path.realpath(source) for source in sources}
    for file in map(Path, files):
        if os.path.realpath(file) in read:
            raise ConfigError(f'{file} is read as an input; choose another {option}')
        if file.is_dir():
            raise ConfigError(f'{file} is a folder; choose another {option}')
        if os.path.lexists(file) and not overwrite:
            raise ConfigError(
                f'{file} already exists; choose another {option}, or replace it with --overwrite'
            )
        _check_folder(file)


def check_output_folder(
    folder: Path, *, overwrite: bool, content: Sequence[str], sources: Sequence[PathLike] = ()
) -> None:
    """Raise ConfigError where a new folder cannot be made, or one that exists may not be replaced.

    content: patterns of the names of its files, the first being that of a file which every folder of this kind has; a
    folder without it, or with anything else in it, is never replaced. sources: what is read.
    """
    if not os.path.lexists(folder):
        _check_folder(folder)
        return
    if not overwrite:
        raise ConfigError(f'{folder} already exists; choose another --output, or replace it with --overwrite')
    place = Path(os.path.realpath(folder))
    for source in (Path(os.path.realpath(source)) for source in sources):
        if source == place or place in source.parents:
            raise ConfigError(f'{folder} holds {source}, which is read as an input; choose another --output')
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if content[0] not in held:
        raise ConfigError(
            f'{folder} is not replaced, because it holds no {content[0]}; choose another --output'
        )
    others = [name for name in held if not any(fnmatch(name, pattern) for pattern in content)]
    if others:
        raise ConfigError(
            f'{folder} is not replaced, because it also holds {first_few(others)}; choose another --output'
        )


def _check_folder(file: Path) -> None:
    """Raise ConfigError where neither the file's folder nor the one that it would be made in takes files."""
    existing = next(each for each in file.absolute().parents if os.path.lexists(each))
    if not existing.is_dir():
        raise ConfigError(f'{file} cannot be written: {existing} is not a folder')
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f'{file} cannot be written: the folder {existing} is not writable')


def check_suffix(path: PathLike, formats: Sequence[str]) -> str:
    """Return the format that a path's suffix names, without the dot; ConfigError for an unknown one."""
    suffix = Path(path).suffix.lower().lstrip('.')
    if suffix not in formats:
        known = ', '.join(f'.{name}' for name in formats)
        raise ConfigError(f'{path}: the suffix names the format, and must be one of {known}')
    return suffix
