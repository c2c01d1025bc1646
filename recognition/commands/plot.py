"""Draw a network at three levels: stages, units or operators.

The suffix of the output says how the picture is written: .svg, .png, .pdf, .dot, or .html for a page whose stages open
and close. SVG, PNG and PDF need a layout engine; without one the DOT file is written in their place.
"""

from __future__ import annotations

import argparse
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Collection, Optional, Sequence

from recognition.cli.network_options import Request, add_network_arguments, network_from, request_from
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_output
from recognition.utils.output_paths import check_outputs, check_suffix

if TYPE_CHECKING:
    from symbols.graph import Graph

LEVELS = ('stages', 'units', 'operators')
PICTURES, PAGE, DOT = ('svg', 'png', 'pdf', 'dot'), 'html', '.dot'
OPEN = {
    'stages': 0,
    'units': 2,
    'operators': sys.maxsize,
}  # how many frames deep a page is open at each level


def depth(text: str) -> int:
    """Parse a depth of nesting."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} must be 0 or more; 0 draws the stages alone')
    return int(text)


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('plot', __doc__, 'r50 -o r50.html')
    add_network_arguments(parser)
    add = parser.add_argument
    add_output(
        parser,
        'FILE',
        'picture to write: .svg, .png, .pdf, .dot or .html (default: NETWORK.svg)',
        default=None,
    )
    add(
        '--level',
        choices=LEVELS,
        help='how much is shown; in a page, how much is open at first (default: units; in a page stages)',
    )
    add(
        '--depth',
        type=depth,
        metavar='N',
        help='open frames N deep, and draw what is nested deeper as one box: 0 leaves the stages, 1 makes each '
        'residual unit or dense layer one box (default: as deep as the level says)',
    )
    add('--highlight', metavar='REGEX', help='mark the boxes that hold an operator with such a name')
    add('--title', help='title above the picture (default: the name of the network)')
    add('--no-fold', action='store_true', help='draw every unit, also those that repeat the one before')
    add('--view', action='store_true', help='open the picture with the program that this desktop has for it')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Draw the network of the command line, and print which file holds the picture."""
    args = build_parser().parse_args(argv)
    request = request_from(args)
    output: Path = args.output or Path(f'{request.title}.svg')
    title = request.title if args.title is None else args.title
    wanted = check_suffix(output, (*PICTURES, PAGE))
    check_outputs([output], overwrite=args.overwrite, sources=request.files)
    written = (_page if wanted == PAGE else _picture)(args, request, output, title)
    print(written)
    if args.view and not webbrowser.open(written.resolve().as_uri()):
        print(f'no program was found that shows {written}', file=sys.stderr)
    return None


def _page(args: argparse.Namespace, request: Request, output: Path, title: str) -> Path:
    from recognition.drawing import write_page
    from symbols.graph import NESTED, build_graph

    graph = build_graph(*network_from(request), NESTED, fold=not args.no_fold)
    _marked(graph, args.highlight)
    opened = OPEN[args.level or 'stages'] if args.depth is None else args.depth
    return write_page(graph, output, title, depth=opened, search=args.highlight or '')


def _picture(args: argparse.Namespace, request: Request, output: Path, title: str) -> Path:
    from recognition.drawing.render import HOW_TO_GET_AN_ENGINE, find_engine, write_picture
    from symbols.graph import build_graph

    if find_engine() is None and output.suffix.lower() != DOT:
        print(
            f'no layout engine was found, so there is no {output}: {HOW_TO_GET_AN_ENGINE}; a page (.html) needs none',
            file=sys.stderr,
        )
        check_outputs([output.with_suffix(DOT)], overwrite=args.overwrite, sources=request.files)
    graph = build_graph(
        *network_from(request), args.level or 'units', fold=not args.no_fold, depth=args.depth
    )
    return write_picture(graph, output, title, _marked(graph, args.highlight))


def _marked(graph: Graph, pattern: Optional[str]) -> Collection[str]:
    from recognition.drawing.render import find_boxes

    return () if pattern is None else find_boxes(graph, pattern)
