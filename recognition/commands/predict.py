"""Predict the classes of images: the most probable ones with their probabilities, or a CSV file for all of them.

The CSV file has a line for each image: its name and its class, or with --probabilities the probability of each class.
A name is the path inside the folder that was given. Images that cannot be read are listed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from config.errors import ConfigError, DataError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.predict_options import add_predict_options, load_predictor
from recognition.cli.standard_options import add_json, add_output, positive
from recognition.data.image_sources import files_of, find_files
from recognition.utils.files import readable, replacing
from recognition.utils.output_paths import check_outputs, check_suffix
from recognition.utils.progress_bar import progress_bar

if TYPE_CHECKING:
    from recognition.predict import Predictor

Rows = Iterator[Tuple[str, np.ndarray]]


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser(
        'predict', __doc__, 'elephant.jpg --model models/densenet121,0 --classes imagenet --top 5'
    )
    add = parser.add_argument
    add('images', nargs='+', metavar='IMAGE', help='an image, or a folder, searched with those below it')
    add_predict_options(parser)
    add('--top', type=positive, default=5, metavar='N', help='classes to show (default: %(default)s)')
    add_output(
        parser, 'FILE.csv', 'write the predictions to this file in place of showing them', default=None
    )
    add('--columns', metavar='ID,LABEL', help='names of its columns (default: id,label)')
    add('--probabilities', action='store_true', help='a column for each class, in place of the label')
    add_json(parser, 'print a JSON object for each image')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Predict, print or write, and list what could not be read."""
    args = build_parser().parse_args(argv)
    columns = _columns(args)
    files = find_files(args.images)
    if args.output:
        check_suffix(args.output, ['csv'])
        check_outputs([args.output], overwrite=args.overwrite, sources=files)
    faults: List[str] = []
    with load_predictor(args, args.top) as predictor:

        def rows() -> Rows:
            yield from predictor.stream(files, lambda _, error: faults.append(str(error)))
            if len(faults) == len(files):
                raise DataError(f'no image can be read: {faults[0]}')

        if args.output:
            with progress_bar(total=len(files), unit='images') as bar:
                _write(args, columns, predictor, rows(), bar)
        else:
            _show(predictor, rows(), as_json=args.json)
    for fault in faults:
        print(fault, file=sys.stderr)
    if args.output:
        done = len(files) - len(faults)
        print(f'{done:,} predictions by {predictor.engine} in {readable(args.output)}')
    if faults:
        print(f'{len(faults):,} of {len(files):,} images cannot be read', file=sys.stderr)
    return 1 if faults else 0


def _columns(args: argparse.Namespace) -> List[str]:
    """Return the names of the columns; ConfigError for options that do not go together."""
    for given, option in ((args.columns, '--columns'), (args.probabilities, '--probabilities')):
        if given and not args.output:
            raise ConfigError(f'{option} is for a file: give -o FILE.csv, too')
    if args.json and args.output:
        raise ConfigError('--json prints, and --output writes CSV; give one')
    columns = (args.columns or 'id,label').split(',')
    if len(columns) != 2 or not all(columns):
        raise ConfigError(
            f'--columns {args.columns!r} is not two names with a comma between, such as id,label'
        )
    return columns


def _show(predictor: Predictor, rows: Rows, *, as_json: bool) -> None:
    for name, row in rows:
        found = predictor.prediction(name, row)
        pairs = list(zip(found.classes, found.probabilities))
        if as_json:
            classes = [{'class': each, 'probability': share} for each, share in pairs]
            shape = list(predictor.image_shape)
            print(
                json.dumps({'image': name, 'image_shape': shape, 'argmax': found.index, 'classes': classes})
            )
            continue
        print(f'{name}: input shape {(1, *predictor.image_shape)}, argmax {found.index}')
        for each, share in pairs:
            print(f'{share:10.6f}  {each}')


def _write(args: argparse.Namespace, columns: List[str], predictor: Predictor, rows: Rows, bar: Any) -> None:
    """Write the CSV file, which is whole or not there."""
    names = _short_names(args.images)
    with (
        replacing(args.output) as temporary,
        open(temporary, 'w', newline='', encoding='utf-8') as file,
    ):
        lines = csv.writer(file, lineterminator='\n')
        lines.writerow([columns[0], *predictor.classes] if args.probabilities else columns)
        for name, row in rows:
            bar.update()
            label = predictor.classes[int(np.argmax(row))]
            lines.writerow([names[name], *(row if args.probabilities else [label])])


def _short_names(paths: Sequence[str]) -> Dict[str, str]:
    """Return what an image is called in the file, by its name: its path inside the folder, where that is its alone."""
    pairs = [
        (readable(file), readable(file.relative_to(path) if Path(path).is_dir() else file.name))
        for path in paths
        for file in files_of(path)
    ]
    clash = len({short for _, short in pairs}) < len(dict(pairs))
    return {name: name if clash else short for name, short in pairs}
