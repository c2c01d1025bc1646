"""The options of the command lines that embed images, and the embedder that the given ones make."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any, Optional

from recognition.cli.config_options import parse_size

if TYPE_CHECKING:
    from recognition.embed import Embedder


def add_embed_options(parser: argparse.ArgumentParser, *, mirror: bool = True) -> None:
    """Add the options that say which network embeds, and how; `mirror`: whether that is one of them."""
    add = parser.add_argument
    add(
        '--model',
        required=True,
        metavar='NETWORK',
        help='checkpoint PREFIX,EPOCH, or a file NET.onnx or NET.ncnn.param',
    )
    add(
        '--engine',
        default='auto',
        help='auto, mxnet, onnxruntime, openvino or ncnn; auto times those installed, once (default: %(default)s)',
    )
    add(
        '--batch-size',
        type=int,
        default=32,
        help='images at a time, mirrored ones counted (default: %(default)s)',
    )
    add('--threads', type=int, help="threads of the engine (default: the engine's own choice)")
    add('--no-resize', action='store_true', help='refuse images of another size than the network takes')
    add(
        '--image-size',
        metavar='HEIGHT,WIDTH',
        help='what the network takes, in pixels (default: what its file says, or 112,112)',
    )
    add(
        '--reference',
        metavar='PREFIX,EPOCH',
        help='checkpoint that a file was made of; the engine is refused where it disagrees with MXNet on it',
    )
    if mirror:
        add(
            '--mirror',
            default='sum',
            help="the mirror image's embedding is added (sum), put behind (concat) or left out (none) "
            '(default: %(default)s)',
        )


def load_embedder(
    args: argparse.Namespace, *, mirror: Optional[str] = None, normalise: bool = True
) -> Embedder:
    """Load the embedder that the options ask for, telling what takes time; errors are those of `Embedder.load`."""
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    from recognition.embed import Embedder

    size: Any = None if args.image_size is None else (*parse_size('--image-size', args.image_size), 3)
    return Embedder.load(
        args.model,
        args.engine,
        normalise=normalise,
        mirror=args.mirror if mirror is None else mirror,
        resize=not args.no_resize,
        batch_size=args.batch_size,
        threads=args.threads,
        image_shape=size,
        reference=args.reference,
    )
