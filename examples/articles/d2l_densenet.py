"""The DenseNet of 'Dive into Deep Learning', trained on Fashion-MNIST as the book does.

python examples/articles/d2l_densenet.py FOLDER     with the four IDX files of Fashion-MNIST or MNIST
python examples/articles/d2l_densenet.py            on scikit-learn's 1,797 digits
"""

from __future__ import annotations

import argparse
import logging
import struct
from pathlib import Path
from typing import Dict, Tuple

import numpy as np

from recognition.cli import run
from config import resolve
from recognition.commands import pack
from recognition.reports.plots import epochs_picture
from recognition.train import train

OUTPUT = Path('runs/d2l_densenet')


def write_digits(folder: Path) -> None:
    """Write scikit-learn's digits as IDX files, every fifth one for the test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, tested = (digits.images * (255 / 16)).astype(np.uint8), np.arange(len(digits.images)) % 5 == 0
    files: Dict[str, Tuple[np.ndarray, np.ndarray]] = {
        'train': (images[~tested], digits.target[~tested]),
        't10k': (images[tested], digits.target[tested]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (pixels, labels) in files.items():
        for kind, array in (('images-idx3', pixels), ('labels-idx1', labels)):
            header = struct.pack(f'>HBB{array.ndim}I', 0, 8, array.ndim, *array.shape)
            (folder / f'{name}-{kind}-ubyte').write_bytes(header + array.astype(np.uint8).tobytes())


def main() -> None:
    """Pack, train and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('folder', nargs='?', type=Path)
    parser.add_argument('--side', type=int, default=96, help='of the images, in pixels (default: 96)')
    parser.add_argument('--lr', type=float, default=0.1)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--epochs', type=int, default=5)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    folder, data = args.folder or OUTPUT / 'digits', OUTPUT / 'data'
    if args.folder is None:
        write_digits(folder)
    first, test = (
        next(folder.glob(f'{name}-images-idx3-ubyte*'), folder / f'{name}-images-idx3-ubyte')
        for name in ('train', 't10k')
    )
    size = f'{args.side},{args.side}'
    pack.main([str(first), '--test', str(test), '--image-size', size, '-o', str(data), '--overwrite'])
    cfg = resolve(
        *('d2l_densenet', 'images', 'classes'),
        dataset_path=str(data),
        image_shape=(args.side, args.side, 1),
        lr=args.lr,
        mom=0.0,  # plain SGD, as the book's
        per_batch_size=args.batch_size,
        end_epoch=args.epochs,
    )
    result = train(cfg, prefix=OUTPUT / 'model', force=True)
    epochs_picture(OUTPUT / 'curve.png', result.history)
    last = [each for each in result.history if each['epoch'] == args.epochs and 'loss' in each]
    loss, accuracy = (np.mean([each[key] for each in last]) for key in ('loss', 'accuracy'))
    print(f'loss {loss:.3f}, train acc {accuracy:.3f}, test acc {result.verifications["test"].top1:.3f}')
    print(f'{result.images_per_second:.1f} examples/sec')


if __name__ == '__main__':
    run(main)
