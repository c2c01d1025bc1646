"""Draw a network at three levels: stages, units or operators.

The argument is the name of a network preset or a `prefix-symbol.json` of any MXNet network. The output's
suffix says how the picture is written: .svg, .png, .pdf, .dot, or .html for a page whose stages open and close.
SVG, PNG and PDF need a layout engine; without one the DOT file is written in their place, a sentence says how to get
an engine, and the exit status is 0.
"""

from __future__ import annotations

import argparse
import sys
import webbrowser
from pathlib import Path
from typing import Collection, Optional, Sequence

from recognition.cli import run
from recognition.cli.network_options import add_network_arguments, network_from
from recognition.drawing.render import FORMATS, HOW_TO_GET_AN_ENGINE, check_suffix, find_boxes, write_picture
from recognition.drawing.web_page import write_page
from symbols.graph.builder import LEVELS, NESTED, build_graph, check_level
from symbols.graph.model import Graph

PAGE = 'html'
OPEN = {
    'stages': 0,
    'units': 2,
    'operators': sys.maxsize,
}  # how many frames deep a page is open at each level


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Draw the network of the command line, and print which file holds the picture."""
    args = _parser().parse_args(argv)
    name = Path(args.network).name.replace('-symbol.json', '')
    output = Path(args.output or f'{name}.svg')
    title = name if args.title is None else args.title
    wanted = check_suffix(output, (*FORMATS, PAGE))
    written = (_page if wanted == PAGE else _picture)(args, output, title)
    if written.suffix.lower() != f'.{wanted}':
        reason = f'no layout engine was found, so there is no {output}'
        print(f'{reason}: {HOW_TO_GET_AN_ENGINE}; a page (.html) needs none', file=sys.stderr)
    print(written)
    if args.view and not webbrowser.open(written.resolve().as_uri()):
        print(f'no program was found that shows {written}', file=sys.stderr)
    return None


def _page(args: argparse.Namespace, output: Path, title: str) -> Path:
    symbol, shapes = network_from(args)
    level = args.level or 'stages'
    check_level(level, args.depth)
    graph = build_graph(symbol, shapes, NESTED, fold=not args.no_fold)
    _marked(graph, args.highlight)
    depth = OPEN[level] if args.depth is None else args.depth
    return write_page(graph, output, title, depth=depth, search=args.highlight or '')


def _picture(args: argparse.Namespace, output: Path, title: str) -> Path:
    symbol, shapes = network_from(args)
    graph = build_graph(symbol, shapes, args.level or 'units', fold=not args.no_fold, depth=args.depth)
    return write_picture(graph, output, title, _marked(graph, args.highlight))


def _marked(graph: Graph, pattern: Optional[str]) -> Collection[str]:
    return () if pattern is None else find_boxes(graph, pattern)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='plot_net.py', description=(__doc__ or '').partition('\n')[0])
    add_network_arguments(parser)
    add = parser.add_argument
    add(
        '-o',
        '--output',
        help='picture to write: .svg, .png, .pdf, .dot or .html (default: <network>.svg, here)',
    )
    add(
        '--level',
        help=f'how much is shown: {", ".join(LEVELS)}; in a page, how much is open at first '
        '(default: units; in a page stages)',
    )
    add(
        '--depth',
        type=int,
        metavar='N',
        help='open frames N deep, and draw what is nested deeper as one box: 0 leaves the stages, 1 makes each '
        'residual unit or dense layer one box (default: as deep as the level says)',
    )
    add('--highlight', metavar='REGEX', help='mark the boxes that hold an operator with such a name')
    add('--title', help='title above the picture (default: the name of the network)')
    add('--no-fold', action='store_true', help='draw every unit, also those that repeat the one before')
    add('--view', action='store_true', help='open the picture with the program that this desktop has for it')
    return parser


if __name__ == '__main__':
    run(main)
