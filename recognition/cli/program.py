"""What every command-line program here does around its own work: errors become one sentence and a status.

A program imports this module before all others, so that Ctrl-C is answered in a word while mxnet is imported, too.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from types import ModuleType, TracebackType
from typing import Any, Callable, NoReturn, Optional, Type

from config.errors import FaceSymbolsError
from recognition.utils.checksums import set_checked
from recognition.utils.locks import outputs_locked
from recognition.utils.processes import INTERRUPTED

WORD = 'interrupted'
_running = False  # whether `run` has begun


def run(main: Callable[[], Optional[int]]) -> NoReturn:
    """Run `main` and leave with its status; a user's mistake is printed as one sentence, with status 1."""
    global _running
    _running = True
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')  # a bad image is named by us, in words
    if sys.stderr is None:  # closed by the shell; the next file to be opened would take its place
        sys.stderr = open(os.devnull, 'w')  # noqa: SIM115 (for as long as the program runs)
    status: Any = 1
    try:
        status = _status(main)
    except FaceSymbolsError as error:
        print(f'error: {error}', file=sys.stderr)
        _leave_the_job()
    except BrokenPipeError:  # `tool | head`: the reader has gone, which is no fault
        status = 0
    except OSError as error:
        where = error.filename or 'reading or writing failed'
        print(f'error: {where}: {error.strerror or error}', file=sys.stderr)
        _leave_the_job()
    except KeyboardInterrupt:
        print(WORD, file=sys.stderr)
        status = INTERRUPTED
    _drop_output()
    if threading.current_thread() is threading.main_thread():
        # The work is done, and Python's own end takes a moment.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


def _status(main: Callable[[], Optional[int]]) -> Any:
    """Return the status that `main` ends with, once all that it printed is out."""
    if sys.stdout is None:
        raise FaceSymbolsError('standard output is closed; send it to /dev/null instead')
    try:
        with outputs_locked():
            status: Any = main()
    except SystemExit as leaving:  # argparse, after --help
        status = leaving.code
    finally:
        set_checked(True)
    sys.stdout.flush()
    return status


def _drop_output() -> None:
    """Forget what was printed and cannot be written: Python would try again at its end, and complain."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_the_job() -> None:
    """End a process that is a worker among several at once, where it has failed and said so.

    MXNet's store of parameters, which goes with the error's frames, would wait for all the others, and they wait for
    this process: the job would stand still for ever.
    """
    if os.environ.get('DMLC_ROLE') == 'worker':
        sys.stderr.flush()
        os._exit(1)


def _is_command(main: ModuleType) -> bool:
    """Return whether Python runs `facesymbols` or `python -m recognition`, which have no `run`."""
    spec = getattr(main, '__spec__', None)
    name = os.path.basename(getattr(main, '__file__', None) or '')
    return name == 'facesymbols' or (spec is not None and spec.name == 'recognition.__main__')


def _uncaught(kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
    """Say a word instead of a traceback where Ctrl-C comes before `run`, in a program whose main module has `run`."""
    main = sys.modules['__main__']
    is_program = _running or getattr(main, 'run', None) is run or _is_command(main)
    if is_program and issubclass(kind, KeyboardInterrupt):
        print(WORD, file=sys.stderr)
        sys.exit(INTERRUPTED)
    _otherwise(kind, error, trace)
    if is_program:
        _leave_the_job()


_otherwise, sys.excepthook = sys.excepthook, _uncaught
