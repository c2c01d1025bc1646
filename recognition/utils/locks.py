"""Locks on what a program writes: a second one that would write it is refused, and the holder's death releases them."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, Optional, Set

from config.errors import ConfigError
from recognition.utils.files import PathLike

logger = logging.getLogger(__name__)

TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # by another process; the last two are Windows'
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # by a file system
MOST_MISSED = 100  # times that the folder of a lock is gone
PATIENCE, POLL = 1.0, 0.05  # seconds: a holder that was killed takes a moment to be gone; between two trials
BEGIN = b'process '  # of the line in a lock file
LONGEST_LINE = 400  # bytes
FAR = 1 << 30  # Windows keeps others from reading the byte that is locked, so it is none of the words
_open: Set[BinaryIO] = set()  # the lock files of this process
_outputs: Optional[Dict[Path, None]] = None  # what a program holds until its end
_until_the_end = ExitStack()


@contextmanager
def locked(path: PathLike, *, wait: bool = False) -> Iterator[None]:
    """Keep other programs from writing `path`, or the files that begin with it, during the block.

    The lock is the system's, on the hidden file `.NAME.lock` beside it, so that it ends with its holder, however that
    ends; the file is removed at the end, and one that a killed program left means nothing. Network file systems pass
    such locks on to other machines where they are set up for it (NFS, SMB; Lustre with -o flock). ConfigError where
    another program, or thread, has it, unless `wait`, and where another file has the lock's name; a system without such
    locks is warned of.
    """
    place = _place(path)
    lock = place.parent / f'.{place.name}.lock'
    made = [folder for folder in lock.parents if not folder.exists()]  # the innermost first
    try:
        file = _acquire(lock, Path(path), wait)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ELOOP, errno.EISDIR) and not lock.parent.is_file():
            raise ConfigError(
                f'{path} cannot be locked: {lock} is not a lock file; rename or remove it'
            ) from error
        if lock.exists() and not os.access(lock, os.W_OK):
            hint = 'it is of another user, and may be removed when no program of theirs writes there'
            raise ConfigError(f'{path} cannot be locked by {lock}: {error.strerror}; {hint}') from error
        raise ConfigError(f'{path} cannot be written: {error.strerror}') from error
    _open.add(file)
    try:
        yield
    finally:
        _open.discard(file)
        if not file.closed:  # or else this is a fork, and the lock is its parent's
            _release(file, lock)
            for folder in made:
                with suppress(OSError):  # there is something in it
                    folder.rmdir()


def _place(path: PathLike) -> Path:
    """Return a path by which all programs know an output, whatever links and folders they name it by."""
    place = Path(path)
    if place.name in ('', '..') or place.is_dir():
        return Path(os.path.realpath(place))
    return Path(os.path.realpath(place.parent)) / place.name


def _open_ours(lock: str, flags: int) -> int:
    """Open or make a lock file; OSError where there is another file, a link or anything else in its place."""
    descriptor = os.open(lock, flags | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0), 0o666)
    found, line = os.fstat(descriptor), b''
    plain = stat.S_ISREG(found.st_mode) and found.st_nlink <= 1
    if plain:
        line = os.read(descriptor, len(BEGIN))
        os.lseek(descriptor, 0, os.SEEK_SET)
    if not plain or not BEGIN.startswith(line):
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, 'another file is in its place')
    return descriptor


def _acquire(lock: Path, path: Path, wait: bool) -> BinaryIO:
    """Return the lock file, open and locked."""
    missed, begin, warned = 0, time.monotonic(), False
    while True:
        with suppress(FileExistsError):  # not a folder, which opening the file says
            lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = open(lock, 'r+b', buffering=0, opener=_open_ours)  # noqa: SIM115 (closed by _release)
        except FileNotFoundError:  # the folder was the holder's, who has just removed it
            missed += 1
            if missed > MOST_MISSED:  # or it leads nowhere
                raise
            continue
        try:
            _lock(file)
            if _is_there(file, lock):
                _write_holder(file)
                return file
        except OSError as error:
            if error.errno in UNSUPPORTED:
                logger.warning(
                    '%s cannot be locked: %s; nothing keeps another program from writing it',
                    *(path, error.strerror),
                )
                return file
            if error.errno not in TAKEN:
                file.close()
                raise
            file.seek(0)
            holder = file.read(LONGEST_LINE).decode('utf-8', 'replace').strip() or 'another program'
            if time.monotonic() - begin > PATIENCE and not warned:
                if not wait:
                    file.close()
                    raise ConfigError(
                        f'{path} is in use by {holder}; wait for its end, or choose another place'
                    ) from None
                logger.warning('%s is in use by %s; waiting for its end', path, holder)
                warned = True
            time.sleep(POLL)
        file.close()  # removed by its holder in the meantime: the next one is another file


def _lock(file: BinaryIO) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        file.seek(FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_there(file: BinaryIO, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(lock))
    except FileNotFoundError:
        return False


def _write_holder(file: BinaryIO) -> None:
    since = time.strftime('%Y-%m-%d %H:%M:%S')
    with suppress(OSError):  # a full disk: the lock holds without
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()} since {since}\n'.encode())
        os.fsync(file.fileno())  # for those on other machines


def _release(file: BinaryIO, lock: Path) -> None:
    if os.name == 'nt':  # which removes no open file, and none that another program has just opened
        file.close()
    with suppress(OSError):
        # where it was removed by hand, the file there is another program's
        if os.name == 'nt' or _is_there(file, lock):
            lock.unlink()
    file.close()


def _forget() -> None:
    """Close the lock files in a fork, which would hold the locks beyond its parent's death."""
    for file in _open:
        file.close()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def outputs_locked() -> Iterator[None]:
    """Have `lock_output` keep its locks to the end of the block, which is a whole program."""
    global _outputs
    before, _outputs = _outputs, {} if _outputs is None else _outputs
    try:
        yield
    finally:
        _outputs = before
        if before is None:
            _until_the_end.close()


def lock_output(path: PathLike) -> None:
    """Lock an output of a program from its check to the program's end; without effect in a program that is not ours.

    ConfigError where another program is about to write it.
    """
    place = _place(path)
    if _outputs is not None and place not in _outputs:
        _until_the_end.enter_context(locked(path))
        _outputs[place] = None
