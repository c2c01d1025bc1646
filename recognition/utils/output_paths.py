"""Outputs are checked before any work is done for them, and replaced only when that is asked for."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Iterable, Sequence

from config.errors import ConfigError, first_few
from recognition.utils.files import PathLike
from recognition.utils.locks import lock_output


def check_outputs(
    files: Iterable[PathLike],
    *,
    overwrite: bool,
    sources: Sequence[PathLike] = (),
    option: str = '--output',
) -> None:
    """Raise ConfigError where one of the files cannot be written, or exists and may not be replaced.

    A command keeps other ones from writing the first file until it ends.

    Parameters
    ----------
    files : iterable of path
        What is to be written, the main file first.
    overwrite : bool
        Whether files that exist are replaced.
    sources : sequence of path
        What is read, which is never replaced.
    option : str
        Of the command line, which names another place.
    """
    read = {os.path.realpath(source) for source in sources}
    paths = [Path(file) for file in files]
    for file in paths:
        if os.path.realpath(file) in read:
            raise ConfigError(f'{file} is read as an input; choose another {option}')
        _check_kind(file, option)
        _check_vacant(file, option, overwrite)
        _check_folder(file)
    if paths:
        lock_output(paths[0])
    for file in paths:  # another program may have written it before it was locked
        _check_vacant(file, option, overwrite)


def check_place(file: Path, option: str = '--output') -> None:
    """Raise ConfigError where a file cannot be written."""
    _check_kind(file, option)
    _check_folder(file)


def _check_kind(file: Path, option: str) -> None:
    if file.exists() and not file.is_file():
        what = 'a folder' if file.is_dir() else 'not a regular file'
        raise ConfigError(f'{file} is {what}; choose another {option}')


def _check_vacant(file: Path, option: str, overwrite: bool) -> None:
    if os.path.lexists(file) and not overwrite:
        raise ConfigError(f'{file} already exists; choose another {option}, or replace it with --overwrite')


def check_output_folder(
    folder: Path, *, overwrite: bool, content: Sequence[str], sources: Sequence[PathLike] = ()
) -> None:
    """Raise ConfigError where a new folder cannot be made, or one that exists may not be replaced.

    content: patterns of the names of its files, the first being that of a file which every folder of this kind has; a
    folder without it, or with anything else in it, is never replaced. sources: what is read.
    """
    _check_folder(folder)
    lock_output(folder)
    if not os.path.lexists(folder):
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
