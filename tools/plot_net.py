"""Draw a network at three levels: stages, units or operators.

The argument is the name of a network preset or a `prefix-symbol.json` of any MXNet network. The output's
suffix says how the picture is written: .svg, .png or .dot. SVG and PNG need a layout engine; without one the
DOT file is written in their place, a sentence says how to get an engine, and the exit status is 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Optional, Sequence

from recognition.cli import run
from recognition.drawing import HOW_TO_GET_AN_ENGINE, check_suffix, write_picture
from recognition.network_argument import add_network_arguments, network_from
from symbols.graph import LEVELS, build_graph


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Draw the network of the command line, and print which file holds the picture."""
    args = _parser().parse_args(argv)
    name = Path(args.network).name.replace('-symbol.json', '')
    output = Path(args.output or f'{name}.svg')
    wanted = check_suffix(output)
    symbol, shapes = network_from(args)
    graph = build_graph(symbol, shapes, args.level, fold=not args.no_fold)
    written = write_picture(graph, output, name if args.title is None else args.title)
    if written.suffix.lower() != f'.{wanted}':
        print(f'no layout engine was found, so there is no {output}: {HOW_TO_GET_AN_ENGINE}', file=sys.stderr)
    print(written)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='plot_net.py', description=(__doc__ or '').partition('\n')[0])
    add_network_arguments(parser)
    add = parser.add_argument
    add('-o', '--output', help='picture to write: .svg, .png or .dot (default: <network>.svg, here)')
    add('--level', default='units', help=f'how much is shown: {", ".join(LEVELS)} (default: units)')
    add('--title', help='title above the picture (default: the name of the network)')
    add('--no-fold', action='store_true', help='draw every unit, also those that repeat the one before')
    return parser


if __name__ == '__main__':
    run(main)
