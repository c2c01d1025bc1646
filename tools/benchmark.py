"""Measure this project beside what people use without it, side by side in one run.

    python tools/benchmark.py data                     images read a second
    python tools/benchmark.py classifier --rounds 1    a million identities; takes 15 GB and some minutes
    python tools/benchmark.py memory --rounds 1        memory as foretold and as measured
    python tools/benchmark.py data --rounds 9 --json data.json

Every figure stands beside its ratio to the first row's: the contenders take turns, a ratio is taken within each round,
and the table has the medians. A figure alone is this machine's, and of the minute.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Optional, Sequence

from recognition.cli import run
from recognition.bench.rounds import machine, table
from recognition.files import write_whole

logger = logging.getLogger('benchmark')

SUITES = {
    'data': 'images read a second: the loader, mx.io.ImageRecordIter, and image by image as InsightFace reads',
    'memory': 'what the audit foretells of memory beside the peak of a process; training that recomputes',
    'classifier': 'memory and time of a step over a million identities: whole, sampled, and split over workers',
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='benchmark.py', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    suites = parser.add_subparsers(dest='suite', required=True, metavar='SUITE')
    for name, help_ in SUITES.items():
        suite = suites.add_parser(name, help=help_, description=help_)
        suite.add_argument('--rounds', type=int, default=5, metavar='N', help='default: %(default)s')
        suite.add_argument('--json', type=Path, metavar='FILE', help='write all figures there, too')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Run a suite and print its table."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    rows = import_module(f'recognition.bench.{args.suite}').measure(args.rounds, told=logger.info)
    about = machine()
    if args.json:
        content = {'suite': args.suite, 'machine': about, 'rows': [asdict(row) for row in rows]}
        write_whole(args.json, (json.dumps(content, indent=2) + '\n').encode())
    print(', '.join(f'{key} {value}' for key, value in about.items()))
    print(table(rows))


if __name__ == '__main__':
    run(main)
