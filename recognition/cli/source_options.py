"""The options of commands that write a checkpoint's network in another form: which one, and what to compare on."""

from __future__ import annotations

import argparse
from typing import Any, Dict, NamedTuple, Optional, Tuple

from recognition.cli.parser import Parser
from recognition.cli.standard_options import add_image_size, add_model, add_output_layer
from recognition.utils.run_paths import parse_checkpoint


class Source(NamedTuple):
    """A checkpoint; the (H, W, C) of its images, a folder of faces to compare on and the output, where given."""

    prefix: str
    epoch: int
    image_shape: Optional[Tuple[int, int, Optional[int]]]
    faces: Optional[str]
    output_layer: Optional[str] = None

    def settings(self) -> Dict[str, Any]:
        """Return what is given beside the checkpoint, as the functions of `recognition.export` take it."""
        return {name: getattr(self, name) for name in ('image_shape', 'faces', 'output_layer')}


def add_source_options(parser: Parser) -> None:
    """Add --model, --image-size, --faces and --output-layer, which `source_from` reads."""
    add_model(parser)
    add_image_size(parser, 'of the images in pixels (default: as PREFIX-config.json records it, or 112,112)')
    parser.add_argument(
        '--faces', metavar='FOLDER', help='photographs to compare on, beside random pixels (default: our own)'
    )
    add_output_layer(parser)


def source_from(args: argparse.Namespace) -> Source:
    """Return what the options name; CheckpointError or ConfigError for words that name nothing."""
    checkpoint = parse_checkpoint('--model', args.model)
    return Source(*checkpoint, args.image_size, args.faces, args.output_layer)
