"""What every command-line program here does around its own work: errors become one sentence and a status."""

from __future__ import annotations

import sys
from typing import Callable, NoReturn, Optional

from config.errors import FaceSymbolsError

INTERRUPTED = 130  # the shell's convention for a program that Ctrl-C ended


def run(main: Callable[[], Optional[int]]) -> NoReturn:
    """Run `main` and leave with its status; a user's mistake is printed as one sentence, with status 1."""
    try:
        status = main()
    except FaceSymbolsError as error:
        print(f'error: {error}', file=sys.stderr)
        status = 1
    except BrokenPipeError:  # `tool | head`: the reader has gone, which is no fault
        sys.stderr.close()
        status = 0
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        status = INTERRUPTED
    sys.exit(status)
