"""Write an embedding network as an ONNX file, or for ncnn, once that is seen to compute what MXNet does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from recognition.cli import run
from config.errors import CheckpointError, ConfigError
from recognition.options import parse_checkpoint, parse_size

EXAMPLE = 'example: python tools/export_onnx.py --model runs/r50/model,10 --output r50.onnx --normalise'
CHANNELS = 3


class Format(NamedTuple):
    """One kind of file: what its name ends with, and what writes it, checks it and returns lines to print.

    files: gives the paths that are written for an output.
    """

    suffix: str
    files: Callable[[Path], Sequence[Path]]
    write: Callable[[Tuple[str, int], argparse.Namespace, Tuple[int, int, int]], Sequence[str]]


def _onnx(
    model: Tuple[str, int], args: argparse.Namespace, image_shape: Tuple[int, int, int]
) -> Sequence[str]:
    from recognition.export import OPSET, Options, export_onnx, read_metadata

    options = Options(normalise=args.normalise, uint8_nhwc=args.uint8_nhwc, fold=args.fold)
    check = export_onnx(*model, args.output, options=options, image_shape=image_shape, faces=args.faces)
    told = read_metadata(args.output)
    return [
        f'opset       {OPSET}; the batch size is free',
        f'input       {told["preprocessing"]}',
        f'output      {" x ".join(map(str, told["embedding_shape"]))} values'
        + (', of length 1' if options.normalise else ', not normalised'),
        *check.lines(),
    ]


def _ncnn(
    model: Tuple[str, int], args: argparse.Namespace, image_shape: Tuple[int, int, int]
) -> Sequence[str]:
    from recognition.export import Options
    from recognition.ncnn_export import export_ncnn

    options = Options(normalise=args.normalise, uint8_nhwc=args.uint8_nhwc)
    check = export_ncnn(*model, args.output, options=options, image_shape=image_shape, faces=args.faces)
    told = Path(args.output).with_suffix('')
    return [f'beside it   {told}.bin, {told}.json', *check.lines()]


def _ncnn_files(output: Path) -> Sequence[Path]:
    from recognition.ncnn_export import files_of

    return files_of(output)


FORMATS: Dict[str, Format] = {
    'onnx': Format('.onnx', lambda output: [output], _onnx),
    'ncnn': Format('.param', _ncnn_files, _ncnn),
}


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Export, check, print."""
    args = build_parser().parse_args(argv)
    model = parse_checkpoint('--model', args.model)
    height, width = parse_size('--image-size', args.image_size)
    form, output = FORMATS[args.format], Path(args.output)
    if output.suffix != form.suffix:
        raise ConfigError(f'--output {args.output} must end in {form.suffix}')
    for file in form.files(output):
        if file.exists() and not args.overwrite:
            raise CheckpointError(f'{file} exists; --overwrite replaces it')
    lines = form.write(model, args, (height, width, CHANNELS))
    print(f'written     {output}, {output.stat().st_size:,} bytes')
    print(*lines, sep='\n')
    return None


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog='export_onnx.py', description=__doc__, epilog=EXAMPLE)
    add = parser.add_argument
    add(
        '--model',
        required=True,
        metavar='PREFIX,EPOCH',
        help='checkpoint: PREFIX-symbol.json and the .params of that epoch',
    )
    add('--output', required=True, metavar='FILE', help='file to write: net.onnx; net.ncnn.param for ncnn')
    add('--format', choices=FORMATS, default='onnx', help='kind of file (default: onnx)')
    add('--normalise', action='store_true', help='give the embeddings the length 1')
    add(
        '--uint8-nhwc',
        action='store_true',
        help='take images as they are decoded: uint8, height x width x 3 in RGB (default: float32 planes)',
    )
    add('--fold', action='store_true', help='multiply batch norms into the convolutions beside them')
    add(
        '--image-size',
        default='112,112',
        metavar='HEIGHT,WIDTH',
        help='of the images in pixels (default: 112,112)',
    )
    add(
        '--faces', metavar='FOLDER', help='photographs to compare on, beside random pixels (default: our own)'
    )
    add('--overwrite', action='store_true', help='replace a file of that name')
    return parser


if __name__ == '__main__':
    run(main)
