"""Signs of life: every process of a job sends one a second, by UDP, and the launcher names one that stands still.

A thread sends them, so that a process that is stopped, or whose machine is, falls silent; each says what the process
does and for how long, so that one that waits for a disk is told from those that wait for it.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Dict, Mapping, NamedTuple, Optional

TARGET = 'FACESYMBOLS_HEARTBEAT'  # the variable with ADDRESS:PORT of the launcher and the name of the process
EVERY = 1.0  # seconds
WITH_THE_OTHERS = 'computing with the others'
ENDING, GONE = 'ending with the others', 'gone'
DONE = 'trained'  # and whatever its program does now is not ours
SHARED = (WITH_THE_OTHERS, ENDING)  # in these a process may be waiting for another one
FRESH = 5.0  # seconds for which a sign is taken for what the process does now
LARGEST = 4096  # bytes of a sign

_told: Dict[str, Any] = {'doing': 'starting', 'rank': None, 'needs_servers': False}
_since = time.monotonic()
_thread: Optional[threading.Thread] = None


def begin() -> None:
    """Send signs of life from now on, in a process of a job whose launcher takes them."""
    global _thread
    if TARGET in os.environ and _thread is None:
        _thread = threading.Thread(target=_send_always, daemon=True)
        _thread.start()
        atexit.register(_end)


def now(doing: str, **more: Any) -> None:
    """Note what this process does from now on, which shows that it has come on; `rank`, `needs_servers` once known."""
    global _since
    _told.update(doing=doing, **more)
    _since = time.monotonic()
    if more and _thread:  # said at once, for the next sign may not come
        _send()


def _end() -> None:
    now(GONE)
    _send()


def _send_always() -> None:
    while _told['doing'] != GONE:
        _send()
        time.sleep(EVERY)


def _send() -> None:
    address, port, name = os.environ[TARGET].split(':', 2)
    sign = {'name': name, 'process': os.getpid(), 'host': socket.gethostname(), **_told}
    sign['seconds'] = time.monotonic() - _since
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(json.dumps(sign).encode(), (address, int(port)))


class Sign(NamedTuple):
    """What a process said of itself, and when that was heard, by the monotonic clock."""

    rank: Optional[int]
    process: int
    host: str
    doing: str
    seconds: float  # for which it had done that
    heard: float
    needs_servers: bool  # the store is open

    def __str__(self) -> str:
        rank = '' if self.rank is None else f'rank {self.rank}, '
        return f'{rank}process {self.process} on {self.host}'


class Listener:
    """Hears the signs of life of a job. address: where. signs: the last one of each process, by its name."""

    def __init__(self, address: str) -> None:
        self.signs: Dict[str, Sign] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((address, 0))
        self.target = f'{address}:{self._socket.getsockname()[1]}'

    def hear(self) -> None:
        """Take what has come."""
        with suppress(BlockingIOError):
            while True:
                content = self._socket.recv(LARGEST)
                with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):  # not ours
                    said = json.loads(content)
                    name, said['heard'] = said.pop('name'), time.monotonic()
                    said['seconds'] = float(said['seconds'])
                    self.signs[name] = Sign(**said)

    def stalls(self, started: Mapping[str, float], most: float) -> Dict[str, str]:
        """Return words on each process that has stood still for more than `most` seconds, by name.

        started: when those that run were. Where all workers are in a step and nobody is to blame they are under ''.
        """
        moment, found, together = time.monotonic(), {}, []
        for name, since in started.items():
            sign = self.signs.get(name)
            silence = moment - (sign.heard if sign else since)
            seconds = sign.seconds + silence if sign else silence
            if sign and sign.doing in (DONE, GONE):
                continue
            if silence > most:
                found[name] = (
                    f'{name}{f" ({sign})" if sign else ""} has given no sign for {silence:.0f} seconds'
                )
            elif silence > FRESH:
                together.append(0.0)  # what it does is not known any more
            elif sign and name.startswith('worker'):
                together.append(seconds if sign.doing in SHARED else 0.0)
                if sign.doing not in SHARED and seconds > most:
                    found[name] = f'{name} ({sign}) has been {sign.doing} for {seconds:.0f} seconds'
        if not found and together and min(together) > most:
            found[''] = (
                f'the workers have been in a step for {min(together):.0f} seconds, though all give signs of life'
            )
        return found

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()
