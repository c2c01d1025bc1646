"""Rewrite a checkpoint for inference: batch norms folded, PReLU in the form its slopes allow; checked, then written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional, Sequence

from config.errors import ConfigError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.source_options import add_source_options, source_from
from recognition.cli.standard_options import add_output
from recognition.engines.model import Model
from recognition.utils.checksums import checksum_path
from recognition.utils.locks import lock_output
from recognition.utils.output_paths import check_outputs
from recognition.utils.run_paths import check_prefix, classes_path, config_path, origin_path

NO_PREFIX = re.compile(r'(.+)(,\d+|-\d{4,}\.params|-symbol\.json)')  # what else names a checkpoint


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('optimize', __doc__, '--model runs/r50/model,10 -o runs/r50/fast')
    add_source_options(parser)
    add_output(parser, 'PREFIX', 'of the checkpoint to write, of the same epoch', kind=str)
    parser.add_argument(
        '--portable',
        action='store_true',
        help='leave PReLU one operator, as other programs want it (default: a form that MXNet runs faster)',
    )
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Rewrite, check, write, print."""
    args = build_parser().parse_args(argv)
    source = source_from(args)
    named = NO_PREFIX.fullmatch(args.output)
    if named:
        raise ConfigError(
            f'--output {args.output} is not a PREFIX, which is {named.group(1)}; the epoch stays {source.epoch}'
        )
    check_prefix(args.output)
    read, written = (Model('checkpoint', Path(each), source.epoch) for each in (source.prefix, args.output))
    read.check_files()
    beside = [name(args.output) for name in (config_path, classes_path, origin_path)]
    files = [*written.files, checksum_path(written.files[-1]), *beside]
    check_outputs(files, overwrite=args.overwrite, sources=read.files)
    lock_output(args.output)  # as a training with this prefix does

    from recognition.export import export_optimized

    done = export_optimized(
        source.prefix,
        source.epoch,
        args.output,
        for_mxnet=not args.portable,
        **source.settings(),
    )
    print('written    ', ', '.join(map(str, written.files)))
    print(f'operators   {done.after:,}, where there were {done.before:,}')
    print(*done.check.lines(), sep='\n')
    return None
