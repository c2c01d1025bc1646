"""Seconds that Python takes to import mxnet, beside those to import this project and build a network as well.

Those of the processor are there, too: on a busy machine those on the clock differ by more than what is measured.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Callable, Dict, List, Mapping

from config.mxnet_numpy import NEEDED
from tools.bench.process import run_alone
from tools.bench.rounds import Row, interleaved

# With numpy 1.24 and later mxnet alone cannot be imported; what it lacks counts as its own there.
ALONE = 'import mxnet'
HELP = "import sys; sys.argv[1:] = '{}'.split(); from recognition.commands.main import main; main()"
FIT = 'from config.mxnet_numpy import install; install(); import mxnet'
PROGRAMS: Mapping[str, str] = {
    'import mxnet': FIT if NEEDED else ALONE,
    'import symbols': 'import symbols',
    'import symbols, and get_symbol': 'import symbols; symbols.get_symbol()',
    'facesymbols --help': HELP.format('--help'),
    'facesymbols train --help': HELP.format('train --help'),
}
CLOCK, PROCESSOR = 'seconds', 'CPU seconds'


def measure(rounds: int, *, told: Callable[[str], None] = print) -> List[Row]:
    """Run each of PROGRAMS in a fresh process in every round; FaceSymbolsError where one fails."""
    contenders = {name: partial(_run, name, program) for name, program in PROGRAMS.items()}
    first, *others = interleaved(contenders, rounds, told=told)
    return [_with_differences(row, first) for row in (first, *others)]


def _run(name: str, program: str) -> Dict[str, float]:
    begin, used = time.perf_counter(), _used()
    run_alone(name, [sys.executable, '-c', program])
    return {CLOCK: time.perf_counter() - begin, PROCESSOR: _used() - used}


def _used() -> float:
    """Return the seconds of the processor that ended child processes have had."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _with_differences(row: Row, first: Row) -> Row:
    """Return a row with the medians, over the rounds, of what it takes on top of the first."""
    more = {
        f'{key} on top': median(own[key] - alone[key] for own, alone in zip(row.rounds, first.rounds))
        for key in row.figures
    }
    return replace(row, figures={**row.figures, **more})
