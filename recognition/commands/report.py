"""Write the report of a training run, RUN-report.html, from the files that it left; also of one that was killed.

python tools/report.py runs/r50/model
"""

from __future__ import annotations

import argparse
from typing import Optional, Sequence

from recognition.cli import run


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the report and say where."""
    parser = argparse.ArgumentParser(
        prog='report.py', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('run', metavar='RUN', help='prefix of the checkpoints, as `--prefix` of the training')
    args = parser.parse_args(argv)

    from recognition.training.report import write_run_report

    print(write_run_report(args.run))


if __name__ == '__main__':
    run(main)
