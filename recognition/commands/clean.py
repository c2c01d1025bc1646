"""Leave images with wrong labels out of a training set, by the centres of a sub-centre training.

    facesymbols train --loss subcenter_arcface --dataset-path faces --prefix runs/sub/model ...
    facesymbols clean --model runs/sub/model,20 --dataset-path faces -o clean
    facesymbols train --loss arcface --dataset-path clean --pretrained clean/model ...

An image that is farther than 75 degrees from the dominant centre of its identity is left out, and an identity that has
none left with it. The new folder has the records, the pair sets, dropped.csv, identities.csv, and the network with the
dominant centres as its classifier. The old one stays as it is.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Optional, Sequence

import numpy as np

from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_batch_size, add_gpus, add_model, add_output
from recognition.cli.verify_options import check_model
from recognition.data import FaceDataset
from recognition.engines.model import Model
from recognition.utils.output_paths import check_output_folder
from recognition.utils.progress_bar import progress_bar
from recognition.utils.run_paths import params_path, parse_checkpoint

STEP = 15  # degrees of a line of the histogram
# What a cleaned set holds: recognition.cleaning, which imports mxnet, has the same.
CONTENT = ('dropped.csv', 'identities.csv', 'train.rec', 'train.idx', 'property', '*.bin', 'model-*')


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('clean', __doc__)
    add = parser.add_argument
    add_model(parser, 'checkpoint of a training with several centres')
    add('--dataset-path', required=True, type=Path, metavar='FOLDER', help='the data set of that training')
    parser.rename('--data', '--dataset-path')
    add_output(parser, 'FOLDER', 'the new data set')
    add(
        '--degrees',
        type=float,
        default=75.0,
        metavar='ANGLE',
        help='images farther than this are left out (default: %(default)g)',
    )
    add_batch_size(parser)
    add_gpus(parser)
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Embed the images, write the new set, and print what was left out."""
    args = build_parser().parse_args(argv)
    prefix, epoch = parse_checkpoint('--model', args.model)
    model = Model('checkpoint', Path(prefix), epoch)
    read = [args.dataset_path, *model.files]
    check_output_folder(args.output, overwrite=args.overwrite, content=CONTENT, sources=read)
    dataset = FaceDataset(args.dataset_path)
    check_model(model)

    from recognition.checkpoint.network import load_embedding, load_network
    from recognition.cleaning import centres_of, clean, write_cleaned
    from recognition.training.pretrained import classifier_of_run
    from symbols.context import select_context

    ctx = select_context(args.gpus)[0]
    saved = load_embedding(prefix, epoch)
    values = saved.classifier or classifier_of_run(prefix, epoch, saved.values)
    centres = centres_of(values, dataset.num_classes, params_path(prefix, epoch))
    net = load_network(prefix, epoch, ctx, image_shape=dataset.image_shape)
    cleaning = clean(
        dataset,
        net,
        centres,
        degrees=args.degrees,
        batch_size=args.batch_size,
        ctx=ctx,
        show=partial(progress_bar, unit='batches'),
    )
    count = write_cleaned(args.output, dataset, cleaning, centres, saved, overwrite=args.overwrite)
    print(histogram(cleaning.angles))
    gone = dataset.num_classes - len(cleaning.identities)
    print(
        f'{args.output}: {count:,} of {len(dataset):,} images kept, {len(cleaning.identities):,} of '
        f'{dataset.num_classes:,} identities' + (f'; {gone:,} had no image left' if gone else '')
    )


def histogram(angles: np.ndarray) -> str:
    """Return a line for each 15 degrees up to the last that has images."""
    counts = np.bincount((angles // STEP).astype(np.int64))
    lines = [f'{STEP * i:>4} to {STEP * (i + 1):>3} degrees {count:>10,}' for i, count in enumerate(counts)]
    return '\n'.join(lines)
