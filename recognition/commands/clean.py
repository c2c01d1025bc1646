"""Leave images with wrong labels out of a training set, by the centres of a sub-centre training.

    python -m recognition.train --loss subcenter_arcface --dataset-path faces --prefix runs/sub/model ...
    python tools/clean_subcentres.py --model runs/sub/model,20 --data faces --output clean
    python -m recognition.train --loss arcface --dataset-path clean --pretrained clean/model ...

An image that is farther than 75 degrees from the dominant centre of its identity is left out, and an identity that has
none left with it. The new folder has the records, the pair sets, dropped.csv, identities.csv, and the network with the
dominant centres as its classifier. The old one stays as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence

import numpy as np

from recognition.cli import run
from config.errors import ConfigError, DataError, MissingExtra
from recognition.utils.run_paths import parse_checkpoint

STEP = 15  # degrees of a line of the histogram


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='clean_subcentres.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        '--model', required=True, metavar='PREFIX,EPOCH', help='checkpoint of a training with several centres'
    )
    add('--data', required=True, type=Path, metavar='FOLDER', help='the data set that it was trained on')
    add(
        '--output', required=True, type=Path, metavar='FOLDER', help='the new data set; must not be there yet'
    )
    add(
        '--degrees',
        type=float,
        default=75.0,
        help='images farther than this are left out (default: %(default)g)',
    )
    add('--batch-size', type=int, default=64, help='images at a time (default: %(default)s)')
    add('--gpus', default='', metavar='ID', help='number of the GPU to use (default: the CPU)')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Embed the images, write the new set, and print what was left out."""
    args = build_parser().parse_args(argv)
    prefix, epoch = parse_checkpoint('--model', args.model)
    if args.batch_size < 1:
        raise ConfigError(f'--batch-size {args.batch_size} must be at least 1')
    if args.output.exists():
        raise DataError(f'{args.output} is there already; give a folder that is not')

    from recognition.checkpoint.network import load_embedding, load_network
    from recognition.cleaning import centres_of, clean, write_cleaned
    from recognition.data.dataset import FaceDataset
    from recognition.training.pretrained import classifier_of_run
    from recognition.utils.run_paths import params_path
    from symbols.context import select_context

    ctx = select_context(args.gpus)[0]
    dataset = FaceDataset(args.data)
    saved = load_embedding(prefix, epoch)
    values = saved.classifier or classifier_of_run(prefix, epoch)
    centres = centres_of(values, dataset.num_classes, params_path(prefix, epoch))
    net = load_network(prefix, epoch, ctx, image_shape=dataset.image_shape)
    cleaning = clean(
        dataset, net, centres, degrees=args.degrees, batch_size=args.batch_size, ctx=ctx, show=progress
    )
    count = write_cleaned(args.output, dataset, cleaning, centres, saved)
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


def progress(items: Iterable[Any], count: int) -> Iterable[Any]:
    """Return the items behind a progress bar."""
    try:
        from tqdm import tqdm
    except ImportError:
        raise MissingExtra("the progress bar needs tqdm: pip install 'facesymbols[train]'") from None
    return tqdm(items, total=count, unit=' batches', leave=False)


if __name__ == '__main__':
    run(main)
