"""Measure this project beside what people use without it, side by side in one run.

    python tools/benchmark.py data                     images read a second
    python tools/benchmark.py embed                    images embedded a second, by every engine that is installed
    python tools/benchmark.py embed --networks r100 --batch 1 --threads 2 --against onnxruntime,torch
    python tools/benchmark.py train                    a training step, beside PyTorch's
    python tools/benchmark.py classifier --rounds 1    a million identities; takes 15 GB and some minutes
    python tools/benchmark.py memory --rounds 1        memory as foretold and as measured
    python tools/benchmark.py data --rounds 9 --json data.json --markdown docs/benchmarks.md

Every figure stands beside its ratio to the first row's: the contenders take turns, a ratio is taken within each round,
and the table has the medians. A figure alone is this machine's, and of the minute. A contender whose package is not
installed is left out, unless --against names it.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from recognition.cli import run
from recognition.utils.files import write_whole
from tools.bench.document import put_section, section
from tools.bench.rounds import machine, table

logger = logging.getLogger('benchmark')


class Suite(NamedTuple):
    """What a suite measures, and which of OPTIONS it has, with what the help says of their defaults."""

    about: str
    options: Mapping[str, str] = {}


THREADS = 'one for each core'
SUITES = {
    'embed': Suite(
        'images embedded a second: plain MXNet as InsightFace uses it, the rewritten network, and other engines',
        {
            'networks': 'r50,d121',
            'batch': '8',
            'threads': THREADS,
            'against': 'plain,onnxruntime,openvino,ncnn,torch where installed',
        },
    ),
    'train': Suite(
        'images trained on a second: plain MXNet as InsightFace uses it, this trainer, and PyTorch',
        {'networks': 'r18,d121', 'batch': '8', 'threads': THREADS, 'against': 'plain,torch where installed'},
    ),
    'data': Suite(
        'images read a second: the loader, mx.io.ImageRecordIter, and image by image as InsightFace reads'
    ),
    'memory': Suite(
        'what the audit foretells of memory beside the peak of a process; training that recomputes',
        {'networks': 'r18,r50,d121,xception,y1', 'batch': '24'},
    ),
    'startup': Suite('seconds to import mxnet, and to import this project and build a network as well'),
    'classifier': Suite(
        'memory and time of a step over a million identities: whole, sampled, and split over workers'
    ),
}


def _names(text: str) -> List[str]:
    return [name for name in text.split(',') if name]


OPTIONS: Mapping[str, Tuple[Callable[[str], Any], str, str]] = {
    'networks': (_names, 'A,B', 'presets to measure'),
    'batch': (int, 'N', 'images at a time'),
    'threads': (int, 'N', 'of every engine'),
    'against': (_names, 'A,B', 'what to compare with'),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='benchmark.py', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    suites = parser.add_subparsers(dest='suite', required=True, metavar='SUITE')
    for name, (about, options) in SUITES.items():
        suite = suites.add_parser(name, help=about, description=about)
        suite.add_argument('--rounds', type=int, default=5, metavar='N', help='default: %(default)s')
        for option, default in options.items():
            kind, metavar, help_ = OPTIONS[option]
            suite.add_argument(f'--{option}', type=kind, metavar=metavar, help=f'{help_}; default: {default}')
        suite.add_argument('--json', type=Path, metavar='FILE', help='write all figures there, too')
        suite.add_argument(
            '--markdown', type=Path, metavar='FILE', help='put the table there, in the place of its last one'
        )
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Run a suite and print its table."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    about, options = SUITES[args.suite]
    given = {name: getattr(args, name) for name in options if getattr(args, name) is not None}
    measure = import_module(f'tools.bench.{args.suite}').measure
    rows = measure(args.rounds, **given, told=logger.info)
    where = machine()
    settings = {'rounds': args.rounds, **_settings(measure, options, given)}
    if args.json:
        content = {
            'suite': args.suite,
            'machine': where,
            'settings': settings,
            'rows': [asdict(row) for row in rows],
        }
        write_whole(args.json, (json.dumps(content, indent=2) + '\n').encode())
    if args.markdown:
        put_section(args.markdown, args.suite, section(about, where, settings, table(rows)), tuple(SUITES))
    print(', '.join(f'{key} {value}' for key, value in where.items()))
    print(table(rows))


def _settings(
    measure: Callable[..., Any], options: Mapping[str, str], given: Mapping[str, Any]
) -> Dict[str, Any]:
    """Return the options as they were used: as given, or else the suite's defaults."""
    defaults = inspect.signature(measure).parameters
    used = {name: given.get(name, defaults[name].default) for name in options}
    return {name: value if value is not None else options[name] for name, value in used.items()}


if __name__ == '__main__':
    run(main)
