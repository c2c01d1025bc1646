"""Jobs of several processes, as tests run them."""

from __future__ import annotations

from recognition.interrupt import StopRequest
from recognition.launch import Job, Plan


def run(command, logs, *, workers=2, servers=1, **options):
    Job(Plan([*map(str, command)], workers, servers, logs, **options)).run(StopRequest())
