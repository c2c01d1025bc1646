"""A training job of several processes: MXNet's scheduler, its servers, and workers that run one command, watched.

When one of them dies the others would wait for it for ever; here the whole job ends within seconds, with the last lines
of the one that died. Source of the roles and of the DMLC_* variables: MXNet's parameter server (ps-lite).
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Deque, Dict, List, Mapping, Optional, Sequence, Set

from config.compat import physical_cores
from config.errors import FaceSymbolsError
from recognition.distributed.heartbeat import TARGET, Listener
from recognition.distributed.job_plan import Plan, check_plan, free_port
from recognition.distributed.remote import END, KILLED, LISTENS
from recognition.utils.processes import INTERRUPTED, StopRequest, die_with_parent

logger = logging.getLogger(__name__)

SCHEDULER, SERVER, WORKER = 'scheduler', 'server', 'worker'
SERVE = (  # mxnet's import serves, and does not return before the job is done
    sys.executable,
    '-c',
    'from recognition.distributed import heartbeat; heartbeat.begin(); import symbols',
)
TOLD = 20  # lines of the log of a process that died
POLL = 0.1  # seconds
PATIENCE = 5.0  # seconds that a process has to end when it is asked to


@dataclass
class Member:
    """One process of a job, and the last lines that it wrote."""

    role: str
    number: int
    host: str  # '' is this machine
    process: subprocess.Popen
    log: Path
    tail: Deque[str] = field(default_factory=lambda: deque(maxlen=TOLD))
    reader: Optional[threading.Thread] = None
    ended: float = 0.0  # when that was seen, by the monotonic clock
    started: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """What it is called among the others."""
        return name_of(self.role, self.number)

    def __str__(self) -> str:
        return f'{self.name} on {self.host}' if self.host else f'{self.name} (process {self.process.pid})'


def name_of(role: str, number: int) -> str:
    """Return what a process of a job is called."""
    return role if role == SCHEDULER else f'{role} {number}'


class Job:
    """The processes of a plan. `run` starts them and returns when they are done."""

    def __init__(self, plan: Plan) -> None:
        check_plan(plan)
        self.plan = plan
        self.address = socket.gethostbyname(plan.address)  # the parameter server listens on no name
        self.port = plan.port or free_port(self.address)
        self.members: List[Member] = []
        self.heartbeats = Listener(self.address)
        self._stalled: Set[str] = set()

    def run(self, stop: StopRequest) -> None:
        """Start all processes and watch them until the workers are done.

        `stop` is passed on to the workers, which save and end. Raises FaceSymbolsError when a process dies, or ends
        with a status, after all the others have been ended.
        """
        self.plan.logs.mkdir(parents=True, exist_ok=True)
        try:
            self._start(SCHEDULER, 0, '')
            for role, count in ((SERVER, self.plan.servers), (WORKER, self.plan.workers)):
                for number in range(count):
                    hosts = self.plan.hosts
                    self._start(role, number, hosts[number % len(hosts)] if hosts else '')
            self._watch(stop)
        finally:
            self._end()
            self.heartbeats.close()

    def _start(self, role: str, number: int, host: str) -> None:
        command = list(self.plan.command if role == WORKER else SERVE)
        variables = {**self._variables(role), TARGET: f'{self.heartbeats.target}:{name_of(role, number)}'}
        if host:
            command = [*self.plan.ssh, host, remote_words(command, variables, towards=self.address)]
        log = self.plan.logs / f'{role}-{number}.log'
        process = subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE if host else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            start_new_session=True,  # Ctrl-C comes from here alone, once
            preexec_fn=die_with_parent(),
        )
        member = Member(role, number, host, process, log)
        member.reader = threading.Thread(target=_copy_lines, args=(member,), daemon=True)
        member.reader.start()
        self.members.append(member)

    def _variables(self, role: str) -> Dict[str, str]:
        variables = {
            'DMLC_ROLE': role,
            'DMLC_PS_ROOT_URI': self.address,
            'DMLC_PS_ROOT_PORT': str(self.port),
            'DMLC_NUM_WORKER': str(self.plan.workers),
            'DMLC_NUM_SERVER': str(self.plan.servers),
            LISTENS: self.address,  # by itself it would choose the first network that it finds
        }
        if role == WORKER and not self.plan.hosts and 'OMP_NUM_THREADS' not in os.environ:
            cores = physical_cores()
            variables['OMP_NUM_THREADS'] = str(max(1, cores // self.plan.workers))
        return variables

    def _watch(self, stop: StopRequest) -> None:
        passed_on = False
        while True:
            running = [member for member in self.members if member.process.poll() is None]
            workers = [member for member in running if member.role == WORKER]
            self.heartbeats.hear()
            self._check(busy=bool(workers), stopping=bool(stop))
            self._check_stalled(running)
            if not workers or self._is_cut_short():
                return
            if stop and not passed_on:
                passed_on = True
                logger.info('the workers save and end; Ctrl-C again ends them at once')
                for member in workers:
                    _signal(member, signal.SIGTERM)
            time.sleep(POLL)

    def _check(self, *, busy: bool, stopping: bool) -> None:
        """Raise FaceSymbolsError where a process has ended that should not have, or not so."""
        for member in self.members:
            status = member.process.poll()
            if status is None:
                continue
            member.ended = member.ended or time.monotonic()
            asked = (
                stopping
                and member.role == WORKER
                and (status == INTERRUPTED or _is_terminated(member, status))
            )
            if (busy and member.role != WORKER and self._needs_servers(member.ended)) or (
                status and not asked
            ):
                raise FaceSymbolsError(
                    f'{member} {_ended(member, status)}, so the job was ended{self._last_lines(member)}'
                )

    def _needs_servers(self, ended: float) -> bool:
        """Whether a worker's store is open, long after a server or the scheduler was done.

        They are done once the workers have closed it, who may have much to do still.
        """
        signs = [self.heartbeats.signs.get(each.name) for each in self.members if each.role == WORKER]
        return any(each and each.needs_servers and each.heard > ended + PATIENCE for each in signs)

    def _check_stalled(self, running: Sequence[Member]) -> None:
        """Name the processes that stand still; FaceSymbolsError where the job is to end then."""
        if not any(name.startswith(WORKER) for name in self.heartbeats.signs):
            return  # the workers run a program of others, or none yet
        started = {member.name: member.started for member in running}
        stalled = self.heartbeats.stalls(started, self.plan.stalled_after)
        for name, words in stalled.items():
            if self.plan.end_stalled:
                raise FaceSymbolsError(f'{words}, so the job was ended; the logs are in {self.plan.logs}')
            if name not in self._stalled:
                logger.warning('%s', words)
        for name in self._stalled - set(stalled):
            logger.warning('%s has come on again', name or 'the job')
        self._stalled = set(stalled)

    def _is_cut_short(self) -> bool:
        """Whether a worker was asked to end before it knew how to: the others, who do, would wait for it."""
        return any(
            member.role == WORKER
            and _is_terminated(member, member.process.poll())
            and time.monotonic() - member.ended > PATIENCE
            for member in self.members
        )

    def _last_lines(self, member: Member) -> str:
        if member.reader:
            member.reader.join(1.0)
        if not member.tail:
            return f'; its log, {member.log}, is empty'
        return f'; the end of its log, {member.log}:' + ''.join(f'\n    {line}' for line in member.tail)

    def _end(self) -> None:
        """End what still runs, first with a word and then without."""
        grace = time.monotonic() + (
            PATIENCE if self._workers_done() else 0.0
        )  # servers end by themselves then
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            for member in self.members:
                if number is not None and member.process.poll() is None:
                    _signal(member, number)
            while time.monotonic() < grace and any(each.process.poll() is None for each in self.members):
                time.sleep(POLL / 2)
            grace = time.monotonic() + PATIENCE / 2
        for member in self.members:
            try:
                member.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # it waits for a disk, and dies when that answers
                logger.warning('%s is left behind, since the system cannot end it yet', member)
            if member.reader:
                member.reader.join(1.0)  # its last lines

    def _workers_done(self) -> bool:
        workers = [member for member in self.members if member.role == WORKER]
        return len(workers) == self.plan.workers and all(each.process.poll() == 0 for each in workers)


def remote_words(command: Sequence[str], variables: Mapping[str, str], towards: str) -> str:
    """Return a shell's command line that runs `command` in the folder that is the current one here.

    It finds out itself on which address it listens; see recognition.distributed.remote.
    """
    settings = [f'{name}={value}' for name, value in variables.items() if name != LISTENS]
    words = [sys.executable, '-m', 'recognition.distributed.remote', towards, *settings, END, *command]
    return f'cd {shlex.quote(os.getcwd())} && exec {shlex.join(words)}'


def _copy_lines(member: Member) -> None:
    """Write what a process prints to its log, and what a worker prints to stderr too, with the worker's number."""
    with open(member.log, 'w') as log:
        for line in member.process.stdout or ():
            log.write(line)
            log.flush()
            member.tail.append(line.rstrip())
            if member.role == WORKER:
                sys.stderr.write(f'[{WORKER} {member.number}] {line.rstrip()}\n')
                sys.stderr.flush()


def _signal(member: Member, number: int) -> None:
    """Send a signal; to a process elsewhere by a word, but its connection is cut, which kills it, for SIGKILL."""
    with suppress(ProcessLookupError, BrokenPipeError):  # it has just ended
        if member.process.stdin and number != signal.SIGKILL:
            member.process.stdin.write(f'{number:d}\n')
            member.process.stdin.flush()
        else:
            os.killpg(member.process.pid, number)


def _is_terminated(member: Member, status: Optional[int]) -> bool:
    return status == (KILLED + signal.SIGTERM if member.host else -signal.SIGTERM)


def _ended(member: Member, status: int) -> str:
    if status < 0:
        return f'was killed by {signal.Signals(-status).name}'
    if member.host and status != INTERRUPTED and status - KILLED in set(signal.Signals):
        return f'was killed by {signal.Signals(status - KILLED).name}'
    return f'ended with status {status}'
