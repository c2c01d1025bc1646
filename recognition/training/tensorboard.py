"""A run in TensorBoard: its figures as scalars, training images, ROC curves and confusion matrices as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

import numpy as np

from recognition.training.progress import Record
from recognition.utils.files import PathLike
from recognition.utils.packages import require
from recognition.verification.classification import Classification
from recognition.verification.evaluation import Evaluation
from recognition.verification.lfw import Verification

SCALARS = ('loss', 'accuracy', 'lr', 'norm', 'images_per_second')  # of a step's record
FIGURES = ('accuracy', 'eer', 'auc', 'top5', 'loss')  # of a verification
ACROSS, MOST = 8, 32  # faces in a row of the picture, and in all


class Board:
    """Writes the event files of one run, from after step `steps` on; what older ones have of later steps is hidden.

    Raises MissingExtra where tensorboardX is not installed.
    """

    def __init__(self, folder: PathLike, steps: int = 0) -> None:
        package = require('tensorboardX', 'train', 'tensorboard=True')
        self._writer = package.SummaryWriter(str(folder), purge_step=steps + 1 if steps else None)
        self._skipped = 0
        self._faces_shown = False

    def record(self, record: Record) -> None:
        """Add a record of the history."""
        step = record['step']
        for key in SCALARS:
            if key in record:
                self._writer.add_scalar(f'training/{key}', record[key], step)
        if 'skipped' in record:
            self._skipped += 1
            self._writer.add_scalar('training/skipped', self._skipped, step)
        for name, figures in record.get('verification', {}).items():
            for key in FIGURES:
                if key in figures:
                    self._writer.add_scalar(f'{name}/{key}', figures[key], step)
            for far, tar in figures.get('tar_at_far', {}).items():
                self._writer.add_scalar(f'{name}/tar_at_far_{far}', tar, step)

    def faces(self, images: np.ndarray, step: int) -> None:
        """Show some of the uint8 images (N, C, H, W) as the network sees them, of the first batch alone."""
        if not self._faces_shown:
            self._faces_shown = True
            self._writer.add_image('faces', mosaic(images[:MOST]), step)

    def verified(self, results: Mapping[str, Evaluation], step: int) -> None:
        """Show the ROC curves of pairs, and the confusion matrix of each set of labelled images."""
        from recognition.reports.plots import confusion_image, roc_image

        pairs = {name: each for name, each in results.items() if isinstance(each, Verification)}
        if pairs:
            self._writer.add_image('roc', roc_image(pairs).transpose(2, 0, 1), step)
        for name, each in results.items():
            if isinstance(each, Classification):
                picture = confusion_image(each.confusion).transpose(2, 0, 1)
                self._writer.add_image(f'{name}/confusion', picture, step)

    def close(self) -> None:
        """Write what is not yet written."""
        self._writer.close()


def board_path(prefix: PathLike) -> Path:
    """Return `prefix-tensorboard`, the folder of a run's event files."""
    return Path(f'{prefix}-tensorboard')


def mosaic(images: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) side by side, eight in a row, as (C, rows * H, 8 * W); what is left over is black."""
    count, channels, height, width = images.shape
    across = min(ACROSS, count)
    down = -(-count // across)
    whole = np.zeros((down * across, channels, height, width), images.dtype)
    whole[:count] = images
    grid = whole.reshape(down, across, channels, height, width).transpose(2, 0, 3, 1, 4)
    return grid.reshape(channels, down * height, across * width)
