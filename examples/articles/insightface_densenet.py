"""InsightFace's Gluon DenseNet: a picture of it, and how many parameters it has.

python examples/articles/insightface_densenet.py
"""

from __future__ import annotations

from recognition.cli import run
from config import generate_config
from recognition.drawing import write_picture
from recognition.reports import print_summary
from symbols import get_symbol
from symbols.audit import audit
from symbols.graph import build_graph

SHAPE = {'data': (1, 3, 112, 112)}


def main() -> None:
    """Build, draw and count."""
    generate_config('d121', 'emore', 'arcface')
    symbol = get_symbol()
    write_picture(build_graph(symbol, SHAPE, 'units'), 'densenet.svg', 'DenseNet-121')
    print_summary(symbol, SHAPE)
    total = audit(symbol, SHAPE).total
    print(f'{total.parameters:,} parameters and {total.auxiliary:,} moving statistics')


if __name__ == '__main__':
    run(main)
