"""Xception built block by block, and its summary, after the article on Keras.

python examples/articles/keras_xception.py
"""

from __future__ import annotations

from recognition.cli import run
from config import resolve
from recognition.commands import audit
from symbols import get_symbol
from symbols.xception import middle_flow, res_block, sep_conv_block

import mxnet as mx

IMAGE = (1, 3, 299, 299)


def main() -> None:
    """Show what each block makes of a map, then the whole network's table, and MXNet's own total."""
    blocks = {
        'sep_conv_block': (sep_conv_block(64, 128), (1, 64, 147, 147)),
        'res_block': (res_block(128, 256), (1, 128, 74, 74)),
        'middle_flow': (middle_flow(728, 728), (1, 728, 19, 19)),
    }
    for name, (block, shape) in blocks.items():
        block.initialize()
        print(f'{name}: {shape} to {block(mx.nd.zeros(shape)).shape}')
    audit.main(['article_xception', '--format', 'keras'])
    mx.viz.print_summary(get_symbol(resolve('article_xception')), {'data': IMAGE})


if __name__ == '__main__':
    run(main)
