"""Run a training in several processes or on several machines: start MXNet's scheduler, servers and workers.

    facesymbols launch -n 2 -s 1 -- facesymbols train --network r50 ...

When one of them dies the whole job ends within seconds, with the last lines of that one's log and status 1. One that
stands still, because it was stopped or waits for a disk, is named after --stalled-after.
"""

from __future__ import annotations

import logging
import shlex
import sys
import tempfile
from pathlib import Path
from typing import List, Optional, Sequence

from config.compat import check_installed
from recognition.cli.parser import COMMAND, Parser, command_parser
from recognition.cli.standard_options import positive
from recognition.distributed.job_plan import HERE, Plan, address_towards, read_hosts
from recognition.distributed.launcher import Job
from recognition.utils.locks import lock_output
from recognition.utils.processes import INTERRUPTED, stop_requests

logger = logging.getLogger('launch')


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Start the job and wait for its end; 130 when Ctrl-C or SIGTERM ended it."""
    args = build_parser().parse_args(argv)
    check_installed()  # rather than let each role say so in its log
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    hosts = read_hosts(Path(args.hosts)) if args.hosts else []
    logs = Path(args.logs) if args.logs else Path(tempfile.mkdtemp(prefix='launch-'))
    lock_output(logs)
    job = Job(
        Plan(
            command=_with_this_python(args.command),
            workers=args.workers,
            servers=args.servers,
            logs=logs,
            hosts=hosts,
            address=args.address or (address_towards(hosts[0]) if hosts else HERE),
            port=args.port,
            ssh=shlex.split(args.ssh),
            stalled_after=args.stalled_after,
            end_stalled=args.end_stalled,
        )
    )
    logger.info(
        '%d workers, %d servers, scheduler on %s:%d; logs in %s',
        args.workers,
        args.servers,
        job.plan.address,
        job.port,
        logs,
    )
    with stop_requests() as stop:
        job.run(stop)
    return INTERRUPTED if stop else None


def _with_this_python(command: List[str]) -> List[str]:
    """Return a worker's command; `facesymbols` is this installation's, whether or not it is on the path."""
    return [sys.executable, '-m', 'recognition', *command[1:]] if command[:1] == [COMMAND] else command


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('launch', __doc__)
    add = parser.add_argument
    add('-n', '--workers', type=positive, required=True, metavar='N', help='processes that train')
    add(
        '-s',
        '--servers',
        type=positive,
        default=1,
        metavar='N',
        help='processes that add up gradients (default: 1)',
    )
    add('--hosts', metavar='FILE', help='one host on a line, reached by ssh (default: this machine alone)')
    add(
        '--address',
        help='under which the hosts reach this machine (default: found out; 127.0.0.1 without hosts)',
    )
    add('--port', type=int, default=0, metavar='N', help='of the scheduler (default: a free one)')
    add('--logs', metavar='FOLDER', help='for a file for each process (default: a temporary folder)')
    add(
        '--ssh',
        default=shlex.join(Plan.ssh),
        metavar='COMMAND',
        help='starts a command on a host (default: %(default)s)',
    )
    add(
        '--stalled-after',
        type=positive,
        default=int(Plan.stalled_after),
        metavar='SECONDS',
        help='name a process that has stood still for so long (default: %(default)s)',
    )
    add('--end-stalled', action='store_true', help='end the job then')
    add('command', nargs='*', help='of a worker, behind --')
    return parser
