"""ResNet-50 with ELU and an L2 penalty for a competition, after an article on Keras: photographs to submission.csv.

    python examples/articles/keras_resnet50.py TRAIN TEST --epochs 30

TRAIN has a folder of photographs for each class, TEST has photographs alone.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from recognition.cli import run
from config import resolve
from recognition.cli.standard_options import config_settings
from recognition.commands import pack, predict
from recognition.data.image_sources import find_files
from recognition.train import train

OUTPUT = Path('runs/keras_resnet50')


def main() -> None:
    """Pack, train, predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('train', help='folder with a folder of photographs for each class')
    parser.add_argument('test', help='folder of photographs to predict')
    parser.add_argument('--epochs', type=int, default=30)
    parser.add_argument('--config', action='append', default=[], metavar='KEY=VALUE')
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    find_files([args.test])  # a wrong folder is better known before the training than after it
    settings = {
        'input_mean': 127.5,
        'input_scale': 1 / 127.5,
        'kernel_l2': 1e-4,  # on the convolutions alone
        'data_rand_mirror': True,
        'lr': 0.01,
        'per_batch_size': 16,
        'best': 'test:top1',
        **config_settings(args.config),
    }
    cfg = resolve(
        *('keras_resnet50_elu', 'images', 'classes'),
        dataset_path=str(OUTPUT / 'data'),
        end_epoch=args.epochs,
        **settings,
    )
    size = ','.join(map(str, cfg.image_shape[:2]))
    pack.main(
        [args.train, '--test-share', '0.2', '--image-size', size, '-o', cfg.dataset_path, '--overwrite']
    )
    result = train(cfg, prefix=OUTPUT / 'model', force=True)
    predict.main([args.test, '--model', f'{OUTPUT / "model-best"},0', '-o', 'submission.csv', '--overwrite'])
    print(f'top-1 on the held-out photographs: {result.verifications["test"].top1:.3f}')


if __name__ == '__main__':
    run(main)
