"""Export a network to ONNX, ncnn, PyTorch, safetensors, Keras or MXNet; a file is written only if it passes a check."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from config.errors import ConfigError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.source_options import Source, add_source_options, source_from
from recognition.cli.standard_options import add_output, add_provenance, provenance_from
from recognition.engines.model import Model
from recognition.utils.checksums import checksum_path
from recognition.utils.locks import lock_output
from recognition.utils.output_paths import check_outputs
from recognition.utils.run_paths import classes_path, config_path, origin_path, params_path, symbol_path


class Format(NamedTuple):
    """One kind of file: what its name may end with, and what writes it, checks it and returns lines to print.

    suffixes: none where the output is a prefix. files: gives the paths that are written for an output, the main one
    first. refused: options that it does not take.
    """

    suffixes: Tuple[str, ...]
    files: Callable[[Path], Sequence[Path]]
    write: Callable[[Source, argparse.Namespace], Sequence[str]]
    refused: Tuple[str, ...] = ()


def _onnx(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.onnx_export import OPSET, Options, export_onnx, read_metadata

    options = Options(args.normalise, args.uint8_nhwc, args.fold, args.pixels)
    check = export_onnx(*source[:2], args.output, options=options, **_given(source, args))
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

    options = Options(normalise=args.normalise, uint8_nhwc=args.uint8_nhwc, pixels=args.pixels)
    check = export_ncnn(*source[:2], args.output, options=options, **_given(source, args))
    told = args.output.with_suffix('')
    return [f'beside it   {told}.bin, {told}.json', *check.lines()]


def _ncnn_files(output: Path) -> Sequence[Path]:
    from recognition.export.ncnn_export import files_of

    return files_of(output)


def _mxnet(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.mxnet_export import export_mxnet

    lock_output(args.output)  # as a training with this prefix does
    params = params_path(args.output, source.epoch)
    check_outputs([params, checksum_path(params)], overwrite=args.overwrite, sources=[])
    check = export_mxnet(*source[:2], args.output, **_given(source, args))
    return [f'beside it   {params}', *check.lines()]


def _mxnet_files(output: Path) -> Sequence[Path]:
    return [name(output) for name in (symbol_path, config_path, classes_path, origin_path)]


def _pytorch(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.weights_export import export_pytorch

    check = export_pytorch(*source[:2], args.output, faces=source.faces, **_of_weights(source, args))
    return [
        "network     arcface_torch's, which takes the file by load_state_dict",
        'input       RGB, float32 (N, 3, 112, 112), as (x - 127.5) / 127.5 of 0..255',
        *check.lines(),
    ]


def _safetensors(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.weights_export import export_safetensors

    export_safetensors(*source[:2], args.output, **_of_weights(source, args))
    return ['parameters  by their names, the config in the metadata; read back the same to the bit']


def _keras(source: Source, args: argparse.Namespace) -> Sequence[str]:
    from recognition.export.weights_export import export_keras

    mode = export_keras(*source[:2], args.output, **_of_weights(source, args))
    prepared = f"prepared by keras.applications.imagenet_utils.preprocess_input(x, mode='{mode}')"
    return [
        f'input       RGB images (N, H, W, C), {"as they are" if mode == "none" else prepared}',
        'parameters  read back the same to the bit',
    ]


def _given(source: Source, args: argparse.Namespace) -> Dict[str, Any]:
    return {'provenance': provenance_from(args), **source.settings()}


def _of_weights(source: Source, args: argparse.Namespace) -> Dict[str, Any]:
    return {'provenance': provenance_from(args), 'image_shape': source.image_shape}


def _one(output: Path) -> Sequence[Path]:
    return [output]


OF_A_GRAPH = ('normalise', 'uint8_nhwc', 'fold', 'pixels')  # options of a file that holds what is computed
OF_PARAMETERS = (*OF_A_GRAPH, 'output_layer')  # that a file of weights alone does not have
FORMATS: Dict[str, Format] = {
    'onnx': Format(('.onnx',), _one, _onnx),
    'ncnn': Format(('.param',), _ncnn_files, _ncnn),
    'pytorch': Format(('.pth', '.pt'), _one, _pytorch, OF_PARAMETERS),
    'safetensors': Format(('.safetensors',), _one, _safetensors, (*OF_PARAMETERS, 'faces')),
    'keras': Format(('.weights.h5', '.keras'), _one, _keras, (*OF_PARAMETERS, 'faces')),
    'mxnet': Format((), _mxnet_files, _mxnet, OF_A_GRAPH),
}


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('export', __doc__, '--model runs/r50/model,10 -o r50.onnx --normalise')
    add = parser.add_argument
    add_source_options(parser)
    add_output(
        parser,
        'FILE',
        'file to write: net.onnx, net.ncnn.param, net.pth, net.safetensors, net.keras or net.weights.h5; PREFIX of a '
        'checkpoint for mxnet',
    )
    add('--format', choices=FORMATS, default='onnx', help='kind of file (default: %(default)s)')
    add('--normalise', '--normalize', action='store_true', help='give the embeddings the length 1')
    add(
        '--uint8-nhwc',
        action='store_true',
        help='take images as they are decoded: uint8, height x width x 3 in RGB (default: float32 planes)',
    )
    add(
        '--pixels',
        choices=('inside', 'outside'),
        default='inside',
        help='inside: take RGB in 0..255 and normalise it; outside: take (x - 127.5) / 127.5 of it, as files of '
        'arcface_torch do (default: %(default)s)',
    )
    add('--fold', action='store_true', help='multiply batch norms into the convolutions beside them')
    add_provenance(parser)
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Export, check, print."""
    args = build_parser().parse_args(argv)
    source, output = source_from(args), args.output
    form = FORMATS[args.format]
    others = [name for name, each in FORMATS.items() if each.suffixes and str(output).endswith(each.suffixes)]
    if args.format not in others and (form.suffixes or others):
        hint = (
            f'; --format {others[0]} writes {output.suffix}' if others else f', as net{form.suffixes[0]} does'
        )
        wanted = f'end in {" or ".join(form.suffixes)}' if form.suffixes else 'be the prefix of a checkpoint'
        raise ConfigError(f'--output {str(output)!r} must {wanted}{hint}')
    for option in form.refused:
        if getattr(args, option) not in (None, False, 'inside'):
            hint = '; `facesymbols optimize` folds a checkpoint' if option == 'fold' else ''
            raise ConfigError(f'--{option.replace("_", "-")} does not go with --format {args.format}{hint}')

    model = Model('checkpoint', Path(source.prefix), source.epoch)
    model.check_files()
    check_outputs(form.files(output), overwrite=args.overwrite, sources=model.files)
    lines = form.write(source, args)
    written = form.files(output)[0]
    print(f'written     {written}, {written.stat().st_size:,} bytes')
    print(*lines, sep='\n')
    return None
