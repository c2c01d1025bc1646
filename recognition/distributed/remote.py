"""One process of a job on another host: this program runs there, between the launcher's ssh and the process.

python -m recognition.distributed.remote ADDRESS NAME=VALUE ... -- command

ADDRESS is the scheduler's. The launcher sends the numbers of signals, one on a line; where its words end, because the
launcher was killed or the connection is lost, the process is killed. So nothing is left behind, whatever starts this
program, and no terminal is needed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Sequence

from recognition.utils.processes import die_with_parent

LISTENS = 'DMLC_NODE_HOST'  # the variable with the address on which a process of a job listens
END = '--'
KILLED = 128  # and the number of the signal: a shell's status of a process that was killed


def own_address(towards: str) -> str:
    """Return the address of this machine from which packets go to the address `towards`.

    The name by which ssh knows a machine may be unknown to the machine itself, or that of another network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:  # nothing is sent
        trial.connect((towards, 9))
        return str(trial.getsockname()[0])


def main(words: Sequence[str]) -> int:
    """Run a command, obey the launcher, and return its status."""
    towards, *rest = words
    split = rest.index(END)
    variables = dict(setting.split('=', 1) for setting in rest[:split])
    process = subprocess.Popen(
        rest[split + 1 :],
        env={**os.environ, LISTENS: own_address(towards), **variables},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent(),
    )
    threading.Thread(target=_obey, args=(process,), daemon=True).start()
    status = process.wait()
    return status if status >= 0 else KILLED - status


def _obey(process: subprocess.Popen) -> None:
    for line in sys.stdin:
        _signal(process, int(line))
    _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen, number: int) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, number)


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        sys.exit(f'error: {error.filename or "the job cannot be reached"}: {error.strerror or error}')
