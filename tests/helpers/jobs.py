"""Jobs of several processes, as tests run them."""

from __future__ import annotations

from recognition.distributed.job_plan import Plan
from recognition.distributed.launcher import Job
from recognition.utils.processes import StopRequest


def run(command, logs, *, workers=2, servers=1, stop=None, **options):
    Job(Plan([*map(str, command)], workers, servers, logs, **options)).run(
        StopRequest() if stop is None else stop
    )
