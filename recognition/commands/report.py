"""Write the report of a training run, RUN-report.html, from the files that it left; also of one that was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence

from config.errors import CheckpointError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_output
from recognition.utils.output_paths import check_outputs, check_suffix
from recognition.utils.run_paths import (
    check_prefix,
    config_path,
    curves_path,
    environment_path,
    history_path,
    report_path,
)


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('report', __doc__, 'runs/r50/model')
    parser.add_argument('run', metavar='RUN', help='prefix of the checkpoints, as `--prefix` of the training')
    add_output(parser, 'FILE.html', 'file to write (default: RUN-report.html)', default=None)
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the report and print where."""
    args = build_parser().parse_args(argv)
    check_prefix(args.run)
    output: Path = args.output or report_path(args.run)
    check_suffix(output, ['html'])
    read = [config_path(args.run), environment_path(args.run), history_path(args.run)]
    for path in read[:2]:
        if not path.is_file():
            raise CheckpointError(f'{path} does not exist; RUN is the prefix of a training')
    check_outputs([output, curves_path(args.run)], overwrite=args.overwrite, sources=read)

    from recognition.training.report import write_run_report

    print(write_run_report(args.run, output))
