"""The options of commands that predict classes, and the predictor that the given ones make."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from recognition.cli.embed_options import add_engine_options
from recognition.cli.parser import Parser
from recognition.cli.pixel_options import given_pixels
from recognition.data.image_sources import INTERPOLATIONS

if TYPE_CHECKING:
    from recognition.predict import Predictor


def add_predict_options(parser: Parser) -> None:
    """Add the options that say which network predicts, and how."""
    add_engine_options(parser)
    parser.add_argument(
        '--classes',
        metavar='FILE',
        help='names of the classes, one a line, or imagenet (default: those that lie beside the network, or in it)',
    )
    parser.add_argument(
        '--interpolation',
        choices=tuple(INTERPOLATIONS),
        help="how images of another size are stretched (default: nearest for Keras's networks, as its load_img does, "
        'else area)',
    )


def load_predictor(args: argparse.Namespace, top: int = 5) -> Predictor:
    """Load the predictor that the options ask for, telling what takes time; errors are those of `Predictor.load`."""
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    from recognition.predict import Predictor

    return Predictor.load(
        args.model,
        args.engine,
        classes=args.classes,
        top=top,
        batch_size=args.batch_size,
        threads=args.threads,
        image_shape=args.image_size,
        interpolation=args.interpolation,
        reference=args.reference,
        output_layer=args.output_layer,
        pixels=given_pixels(args),
    )
