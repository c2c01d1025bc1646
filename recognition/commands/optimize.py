"""Rewrite a checkpoint for inference: batch norms folded, PReLU in the form its slopes allow; checked, then written."""

from __future__ import annotations

import argparse
import re
from typing import Optional, Sequence

from recognition.cli import run
from config.errors import ConfigError
from recognition.cli.output_options import add_output_options, check_outputs
from recognition.cli.source_options import add_source_options, source_from

EXAMPLE = 'example: python tools/optimize_net.py --model runs/r50/model,10 --output runs/r50/fast'
NO_PREFIX = re.compile(r'(.+)(,\d+|-\d{4,}\.params|-symbol\.json)')  # what else names a checkpoint


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='optimize_net.py', description=__doc__, epilog=EXAMPLE)
    add_source_options(parser)
    add_output_options(parser, 'PREFIX', 'of the checkpoint to write, of the same epoch')
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
            f'--output {args.output} is no PREFIX, which is {named.group(1)}; the epoch stays {source.epoch}'
        )

    from recognition.export.optimized_export import export_optimized
    from recognition.utils.run_paths import check_prefix, params_path, symbol_path

    check_prefix(args.output)
    read, written = (
        [symbol_path(prefix), params_path(prefix, source.epoch)] for prefix in (source.prefix, args.output)
    )
    check_outputs(written, overwrite=args.overwrite, sources=read)
    done = export_optimized(
        source.prefix,
        source.epoch,
        args.output,
        for_mxnet=not args.portable,
        image_shape=source.image_shape,
        faces=source.faces,
    )
    print('written    ', ', '.join(map(str, written)))
    print(f'operators   {done.after:,}, where there were {done.before:,}')
    print(*done.check.lines(), sep='\n')
    return None


if __name__ == '__main__':
    run(main)
