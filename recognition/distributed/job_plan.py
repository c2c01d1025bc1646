"""What a training job of several processes is made of, and where: checked before anything is started."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import List, Sequence

from config.errors import ConfigError
from config.reading import read_text

ROLE = 'DMLC_ROLE'  # the variable with the role of a process, for MXNet
WORKER = 'worker'
HERE = '127.0.0.1'
MAX_HOST_CHARACTERS = 60  # characters of a line that an error shows
# no questions; a host that does not answer for 45 seconds is lost
SSH = ('ssh', '-o', 'BatchMode=yes', '-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=3')


def in_a_job() -> bool:
    """Return whether this process was started as a worker of several."""
    return os.environ.get(ROLE) == WORKER


@dataclass(frozen=True)
class Plan:
    """What a job is made of.

    command: of a worker. workers, servers: how many. hosts: where they run, dealt in turn; () is this machine, where
    the scheduler always runs. address: under which they reach this machine; port: where the scheduler listens.
    ssh: the words that start a command on a host. logs: folder of a file for each process. stalled_after: seconds
    after which a process that stands still is named; end_stalled: then the job ends.
    """

    command: Sequence[str]
    workers: int
    servers: int
    logs: Path
    hosts: Sequence[str] = ()
    address: str = HERE
    port: int = 0
    ssh: Sequence[str] = SSH
    stalled_after: float = 600.0
    end_stalled: bool = False


def check_plan(plan: Plan) -> None:
    """Raise ConfigError for a plan that cannot be carried out, before anything is started."""
    if not hasattr(os, 'killpg'):
        raise ConfigError('a job of several processes needs process groups, which this system does not have')
    for what, count in (('workers', plan.workers), ('servers', plan.servers)):
        if count < 1:
            raise ConfigError(f'{count} {what}: a job has at least one')
    if not plan.command:
        raise ConfigError('the command of the workers is missing; it stands behind --')
    if not plan.hosts and not shutil.which(plan.command[0]):
        raise ConfigError(f'the command {plan.command[0]!r} is not to be found')
    elsewhere = [host for host in plan.hosts if not _is_here(host)]
    if elsewhere and _is_here(plan.address):
        raise ConfigError(
            f'the hosts {", ".join(elsewhere)} cannot reach this machine under {plan.address}; give its --address'
        )
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((plan.address, plan.port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise ConfigError(f'the scheduler cannot listen on {plan.address}:{plan.port}: {reason}') from None


def free_port(address: str) -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as trial:
        trial.bind((address, 0))
        return int(trial.getsockname()[1])


def address_towards(host: str) -> str:
    """Return the address of this machine that a host sees; ConfigError where the host has none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:  # nothing is sent
            trial.connect((host.rpartition('@')[2], 9))
            return str(trial.getsockname()[0])
    except OSError as error:
        raise ConfigError(
            f'the address of this machine that the host {host!r} sees is not known, so give --address: '
            f'{error.strerror or error}'
        ) from None


def _is_here(host: str) -> bool:
    """Whether a host is this machine under a name that no other machine can use."""
    try:
        return socket.gethostbyname(host.rpartition('@')[2]).startswith('127.')
    except OSError:  # a name that ssh alone knows
        return False


def read_hosts(path: Path) -> List[str]:
    """Return the hosts of a file: one on a line, [user@]name; empty lines and those with # are not read."""
    lines = [line.partition('#')[0].strip() for line in read_text(path, ConfigError).splitlines()]
    hosts = [line for line in lines if line]
    if not hosts:
        raise ConfigError(f'{path} does not name a host; expected one per line, as user@name or name')
    odd = next((host for host in hosts if len(host.split()) > 1 or host.startswith('-')), None)
    if odd:
        raise ConfigError(
            f'{path}: {odd[:MAX_HOST_CHARACTERS]!r} is not a host; expected one per line, as user@name or name'
        )
    return hosts
