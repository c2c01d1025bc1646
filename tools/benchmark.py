"""Measure this project beside what people use without it: `python tools/benchmark.py --help` lists the suites."""

import os
import sys
from pathlib import Path

# The suites are a package of this checkout, which no installation has, and start processes of their own.
paths = [str(Path(__file__).resolve().parents[1]), os.environ.get('PYTHONPATH', '')]
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, paths))
os.execv(sys.executable, [sys.executable, '-m', 'tools.bench', *sys.argv[1:]])
