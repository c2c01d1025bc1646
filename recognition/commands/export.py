"""Write a network as an ONNX file, for ncnn, PyTorch or Keras, or as safetensors, once that is seen to be the same."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from config.errors import ConfigError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.source_options import Source, add_source_options, source_from
from recognition.cli.standard_options import add_output
from recognition.engines.model import Model
from recognition.utils.output_paths import check_outputs


class Format(NamedTuple):
    """One kind of file: what its name may end with, and what writes it, checks it and returns lines to print.

    files: gives the paths that are written for an output. lacks: options that it does not have.
    """

    suffixes: Tuple[str, ...]
    files: Callable[[Path], Sequence[Path]]
    write: Callable[[Source, argparse.Namespace], Sequence[str]]
    lacks: Tuple[str, ...] = ()


def _onnx(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.onnx_export import OPSET, Options, export_onnx, read_metadata

    options = Options(normalise=args.normalise, uint8_nhwc=args.uint8_nhwc, fold=args.fold)
    prefix, epoch, image_shape, faces = source
    check = export_onnx(prefix, epoch, args.output, options=options, image_shape=image_shape, faces=faces)
    told = read_metadata(args.output)
    return [
        f'opset       {OPSET}; the batch size is free',
        f'input       {told["preprocessing"]}',
        f'output      {" x ".join(map(str, told["embedding_shape"]))} values'
        + (', of length 1' if options.normalise else ', not normalised'),
        *check.lines(),
    ]


def _ncnn(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.ncnn_export import export_ncnn
    from recognition.export.onnx_export import Options

    options = Options(normalise=args.normalise, uint8_nhwc=args.uint8_nhwc)
    prefix, epoch, image_shape, faces = source
    check = export_ncnn(prefix, epoch, args.output, options=options, image_shape=image_shape, faces=faces)
    told = args.output.with_suffix('')
    return [f'beside it   {told}.bin, {told}.json', *check.lines()]


def _ncnn_files(output: Path) -> Sequence[Path]:
    from recognition.export.ncnn_export import files_of

    return files_of(output)


def _pytorch(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.weights_export import export_pytorch

    prefix, epoch, image_shape, faces = source
    check = export_pytorch(prefix, epoch, args.output, image_shape=image_shape, faces=faces)
    return [
        "network     arcface_torch's, by load_state_dict",
        'input       RGB, float32 (N, 3, 112, 112), as (x - 127.5) / 127.5 of 0..255',
        *check.lines(),
    ]


def _safetensors(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.weights_export import export_safetensors

    export_safetensors(source.prefix, source.epoch, args.output, image_shape=source.image_shape)
    return ['parameters  by their names, the config in the metadata; read back the same to the bit']


def _keras(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.weights_export import export_keras

    mode = export_keras(source.prefix, source.epoch, args.output, image_shape=source.image_shape)
    prepared = f"prepared by keras.applications.imagenet_utils.preprocess_input(x, mode='{mode}')"
    return [
        f'input       RGB images (N, H, W, C), {"as they are" if mode == "none" else prepared}',
        'parameters  read back the same to the bit',
    ]


def _one(output: Path) -> Sequence[Path]:
    return [output]


OF_A_GRAPH = ('normalise', 'uint8_nhwc', 'fold')  # options of a file that holds what is computed
FORMATS: Dict[str, Format] = {
    'onnx': Format(('.onnx',), _one, _onnx),
    'ncnn': Format(('.param',), _ncnn_files, _ncnn),
    'pytorch': Format(('.pth', '.pt'), _one, _pytorch, OF_A_GRAPH),
    'safetensors': Format(('.safetensors',), _one, _safetensors, (*OF_A_GRAPH, 'faces')),
    'keras': Format(('.weights.h5', '.keras'), _one, _keras, (*OF_A_GRAPH, 'faces')),
}


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('export', __doc__, '--model runs/r50/model,10 -o r50.onnx --normalise')
    add = parser.add_argument
    add_source_options(parser)
    add_output(
        parser,
        'FILE',
        'file to write: net.onnx, net.ncnn.param, net.pth, net.safetensors, net.keras or net.weights.h5',
    )
    add('--format', choices=FORMATS, default='onnx', help='kind of file (default: %(default)s)')
    add('--normalise', '--normalize', action='store_true', help='give the embeddings the length 1')
    add(
        '--uint8-nhwc',
        action='store_true',
        help='take images as they are decoded: uint8, height x width x 3 in RGB (default: float32 planes)',
    )
    add('--fold', action='store_true', help='multiply batch norms into the convolutions beside them')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Export, check, print."""
    args = build_parser().parse_args(argv)
    source, output = source_from(args), args.output
    form = FORMATS[args.format]
    if not str(output).endswith(form.suffixes):
        others = [name for name, each in FORMATS.items() if str(output).endswith(each.suffixes)]
        hint = (
            f'; --format {others[0]} writes {output.suffix}' if others else f', as net{form.suffixes[0]} does'
        )
        raise ConfigError(f'--output {str(output)!r} must end in {" or ".join(form.suffixes)}{hint}')
    for option in form.lacks:
        if getattr(args, option):
            raise ConfigError(f'--{option.replace("_", "-")} does not go with --format {args.format}')

    model = Model('checkpoint', Path(source.prefix), source.epoch)
    model.check_files()
    check_outputs(form.files(output), overwrite=args.overwrite, sources=model.files)
    lines = form.write(source, args)
    print(f'written     {output}, {output.stat().st_size:,} bytes')
    print(*lines, sep='\n')
    return None
