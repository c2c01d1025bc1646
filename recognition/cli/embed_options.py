"""The options of commands that embed images, and the embedder that the given ones make."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Optional

from recognition.cli.parser import Parser
from recognition.cli.pixel_options import add_pixel_options, given_pixels
from recognition.cli.standard_options import (
    add_batch_size,
    add_image_size,
    add_mirror,
    add_model,
    add_output_layer,
    positive,
)

if TYPE_CHECKING:
    from recognition.embed import Embedder

MODELS = 'checkpoint PREFIX,EPOCH, or a file NET.onnx or NET.ncnn.param'


def add_embed_options(parser: Parser, *, mirror: bool = True) -> None:
    """Add the options that say which network embeds, and how; `mirror`: whether that is one of them."""
    add_engine_options(parser)
    parser.add_argument(
        '--no-resize', action='store_true', help='refuse images of another size than the network takes'
    )
    if mirror:
        add_mirror(parser)


def add_engine_options(parser: Parser) -> None:
    """Add the options that say which network is run on images, and by what."""
    add = parser.add_argument
    add_model(parser, MODELS, 'MODEL')
    add(
        '--engine',
        default='auto',
        metavar='NAME',
        help='auto, mxnet, onnxruntime, openvino or ncnn; auto times those installed, once (default: %(default)s)',
    )
    add_batch_size(parser, 32)
    add(
        '--threads',
        type=positive,
        metavar='N',
        help="threads of the engine (default: the engine's own choice)",
    )
    add_output_layer(parser)
    add_pixel_options(parser)
    add_image_size(parser, 'what the network takes, in pixels (default: as its files record it, or 112,112)')
    add(
        '--reference',
        metavar='PREFIX,EPOCH',
        help='checkpoint that a file was made of; the engine is refused where it disagrees with MXNet on it',
    )


def load_embedder(
    args: argparse.Namespace, *, mirror: Optional[str] = None, normalise: bool = True
) -> Embedder:
    """Load the embedder that the options ask for, telling what takes time; errors are those of `Embedder.load`."""
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    from recognition.embed import Embedder

    return Embedder.load(
        args.model,
        args.engine,
        normalise=normalise,
        mirror=args.mirror if mirror is None else mirror,
        resize=not args.no_resize,
        batch_size=args.batch_size,
        threads=args.threads,
        image_shape=args.image_size,
        reference=args.reference,
        output_layer=args.output_layer,
        pixels=given_pixels(args),
    )
