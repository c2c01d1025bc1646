"""Run two forms of one network on the same images, and name the first layer in which they differ.

    facesymbols compare-layers runs/r50/model,10 r50.onnx
    facesymbols compare-layers runs/r50/model,10 r50.ncnn.param --faces photographs
    facesymbols compare-layers backbone.pth runs/imported/model,0 -v

A form is a checkpoint PREFIX,EPOCH, an ONNX file, a pair NET.ncnn.param, NET.ncnn.bin, or the weights of an iresnet of
arcface_torch (.pth, .pt). Layers are matched by their values, whatever they are called.
Status 1 where a layer differs.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

import numpy as np

from config.errors import CheckpointError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.pixel_options import add_pixel_options, given_pixels
from recognition.cli.standard_options import (
    add_image_size,
    add_json,
    add_no_check,
    add_output_layer,
    share,
)
from recognition.engines.base import Shape, Wanted, agreed_shape, checked_trace
from recognition.engines.model import find_model
from recognition.engines.record import checkpoint_record, shape_of
from recognition.tracing import Comparison, Trace, first_difference
from recognition.tracing.difference import TOLERANCE
from recognition.utils.checksums import check_checksum

logger = logging.getLogger(__name__)

STATES = ('.pth', '.pt')


class Form(NamedTuple):
    """One form of a network: the (H, W, C) of its images, and what gives its trace of uint8 (N, H, W, C)."""

    image_shape: Shape
    trace: Callable[[np.ndarray], Trace]


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('compare-layers', __doc__)
    add = parser.add_argument
    add('first', metavar='A', help='a form of the network')
    add('second', metavar='B', help='another one')
    add_image_size(parser, 'of the images in pixels (default: as the files record it, or 112,112)')
    add_no_check(parser)
    add_output_layer(parser)
    add_pixel_options(parser)
    add('--faces', metavar='FOLDER', help='photographs to run, beside random pixels (default: our own)')
    add(
        '--tolerance',
        type=share,
        default=TOLERANCE,
        metavar='SHARE',
        help="largest difference of a layer's values, as a share of its largest value (default: %(default)g)",
    )
    add('-v', '--verbose', action='store_true', help='print every layer that agrees, too')
    add_json(parser, 'print the comparison as JSON')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Compare, print, and return 1 where a layer differs."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    if args.image_size is None and _is_of_unknown_size(args.first):
        second = open_form(args.second, None, args)
        first = open_form(args.first, second.image_shape, args)
    else:
        first = open_form(args.first, args.image_size, args)
        second = open_form(args.second, first.image_shape, args)
    from recognition.export.parity import draw_probes

    images = draw_probes(first.image_shape, args.faces).one_of_each()
    one, other = first.trace(images), second.trace(images)
    found = first_difference(one, other, args.tolerance)
    if args.json:
        print(json.dumps(_as_json(args, found, other), indent=2))
    else:
        _print(args, found, other)
    return 1 if found.first else 0


def _is_of_unknown_size(text: str) -> bool:
    """Return whether a form is a checkpoint without a record, whose images have the size of the other form's."""
    if text.endswith(STATES):
        return False
    model = find_model(text)
    return model.kind == 'checkpoint' and checkpoint_record(model.path).image_shape is None


def open_form(text: str, wanted: Wanted, args: argparse.Namespace) -> Form:
    """Open a form of a network; CheckpointError for a file that is missing or damaged, ConfigError for another size.

    --output-layer is for both forms, the pixels for those of files that do not record them.
    """
    if text.endswith(STATES):
        return _torch(text, wanted)
    from recognition.engines.mxnet_engine import Reference
    from recognition.engines.ncnn_engine import NcnnEngine
    from recognition.engines.onnxruntime_engine import OnnxRuntimeEngine
    from recognition.engines.pixel_rules import settle

    model = find_model(text)._replace(output=args.output_layer)
    model.check_files()
    if model.kind != 'checkpoint':
        for file in model.files:
            check_checksum(file)
    pixels = given_pixels(args) if model.kind != 'checkpoint' else None
    settled = settle(model._replace(pixels=pixels), faces=True)
    if settled.assumed:
        logger.warning(settled.assumed)
    model = settled.model
    shape = shape_of(model, wanted) if model.kind == 'checkpoint' else wanted
    kind = {'checkpoint': Reference, 'onnx': OnnxRuntimeEngine, 'ncnn': NcnnEngine}[model.kind]
    engine = kind(model, shape, None)
    return Form(engine.image_shape, lambda images: checked_trace(engine, images))


def _torch(text: str, wanted: Wanted) -> Form:
    if not Path(text).is_file():
        raise CheckpointError(f'{text} does not exist')
    from recognition.export.onnx_export import trace_network
    from recognition.weights.arcface_torch import config_of, read_arcface_torch
    from symbols import get_symbol

    cfg = config_of(text)
    shape = agreed_shape(text, cfg.image_shape, wanted)
    return Form(shape, trace_network(get_symbol(cfg), read_arcface_torch(text, cfg)))


def _as_json(args: argparse.Namespace, found: Comparison, other: Trace) -> Dict[str, Any]:
    held = json.dumps(found.first._asdict() if found.first else None)
    first = json.loads(held, parse_constant=lambda name: None)  # JSON has no NaN
    return {
        'a': args.first,
        'b': args.second,
        'operators': {'a': found.total, 'b': len(other.points)},
        'tolerance': args.tolerance,
        'agreed': [{'a': one, 'b': same, 'share': share} for one, same, share in found.agreed],
        'first': first,
        'same_output': found.same_output,
    }


def _print(args: argparse.Namespace, found: Comparison, other: Trace) -> None:
    print(f'A        {args.first}, {found.total} operators')
    print(f'B        {args.second}, {len(other.points)} operators')
    if args.verbose:
        for one, same, share in found.agreed:
            print(f'  {one}{"" if one == same else f" ({same} in B)"}: {share:.1g} apart')
    print(
        f"agree    {len(found.agreed)} of the operators of A, within {args.tolerance:g} of a layer's largest value"
    )
    if found.first:
        print(f'differs  first {found.first.words()}')
        print(f'before   {found.first.before or "nothing"} is the last operator that agrees')
    elif not found.same_output:
        print('differs  none that both have; one of them has further layers at its end')
    else:
        print('differs  none')
