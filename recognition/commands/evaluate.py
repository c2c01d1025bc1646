"""Evaluate a classifier on labelled images: loss, top-1 and top-5 accuracy with 95 % intervals, confusion matrix."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from recognition.cli.parser import Parser, command_parser
from recognition.cli.predict_options import add_predict_options, load_predictor
from recognition.cli.standard_options import add_json, add_output
from recognition.data.labelled_images import LabelledImages, check_labelled, open_labelled
from recognition.utils.files import readable, replacing
from recognition.utils.output_paths import check_outputs, check_suffix
from recognition.utils.progress_bar import progress_bar
from recognition.verification.classification import Classification, classify, softmax

if TYPE_CHECKING:
    from recognition.predict import Predictor

MAX_SHOWN_CLASSES = 20  # of a confusion matrix on a terminal; --json has more
WRONG = ('image', 'class', 'predicted', 'probability')
Wrong = List[Tuple[str, str, str, float]]


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('evaluate', __doc__, 'digits --model runs/digits/model,10')
    parser.add_argument(
        'images', metavar='PATH', help='data set with test.rec (or train.rec), or a folder of class folders'
    )
    add_predict_options(parser)
    add_output(parser, 'FILE.csv', 'list the images that are predicted wrongly', default=None)
    add_json(parser, 'print one JSON object')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Predict, judge, print."""
    args = build_parser().parse_args(argv)
    if args.output:
        check_suffix(args.output, ['csv'])
        check_outputs([args.output], overwrite=args.overwrite, sources=[args.images])
    check_labelled(args.images)
    with load_predictor(args) as predictor:
        given = open_labelled(args.images, predictor.image_shape[2], predictor.classes, named=predictor.named)
        wrong: Wrong = []
        found = classify(_judged(predictor, given, wrong))
    if args.output:
        with replacing(args.output) as temporary, open(temporary, 'w', newline='', encoding='utf-8') as file:
            csv.writer(file, lineterminator='\n').writerows([WRONG, *wrong])
    if args.json:
        told = {'model': args.model, 'set': args.images, 'classes': predictor.classes, **found.as_dict()}
        print(json.dumps(told))
    else:
        _print(readable(args.images), found, predictor.classes)
    return None


def _judged(
    predictor: Predictor, given: LabelledImages, wrong: Wrong
) -> Iterator[Tuple[np.ndarray, List[int]]]:
    """Give the scores of each image with its label, and note those that are wrong."""
    with progress_bar(total=len(given.items), unit='images') as bar:
        for (name, row), label in zip(predictor.scores(given.items), given.labels.tolist()):
            bar.update()
            best = int(np.argmax(row))
            if best != label:
                share = float(softmax(row[None])[0, best])
                wrong.append((name, predictor.classes[label], predictor.classes[best], share))
            yield row[None], [label]


def _print(title: str, found: Classification, classes: Sequence[str]) -> None:
    print(f'{title}: {found.summary()}')
    if len(classes) > MAX_SHOWN_CLASSES:
        return
    width = max(len(str(found.confusion.max())), len(str(len(classes)))) + 2
    print('confusion  rows: the class; columns: the predicted one, by number')
    print(f'{"":11}' + ''.join(f'{number:>{width}}' for number in range(len(classes))))
    for number, (name, row) in enumerate(zip(classes, found.confusion)):
        print(f'{number:>10} ' + ''.join(f'{count:>{width}}' for count in row) + f'  {name}')
