"""The images of a batch, read, augmented and put into an array; in the training process or in one beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Protocol, Tuple

import numpy as np

from config.errors import DataError

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
ORDER, AUGMENT = range(2)  # streams of random numbers
MOST_TRIED = 8  # images in a row: where none of so many can be read, more than images is damaged


class Faces(Protocol):
    """What a loader asks of a data set (`recognition.data.FaceDataset`)."""

    folder: Path
    image_shape: Tuple[int, int, int]
    labels: np.ndarray

    def __len__(self) -> int: ...

    def read(self, index: int) -> Tuple[np.ndarray, int]:
        """Return image `index`, uint8 RGB (H, W, 3), and its label."""


def generator(seed: int, epoch: int, stream: int, position: int = 0) -> np.random.Generator:
    """Return the random numbers that belong to one position of one epoch; no two of them overlap."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, position, stream]))


class Filled(NamedTuple):
    """The labels (n,) of a batch, float32, and what was wrong with images that others replace."""

    labels: np.ndarray
    faults: List[str]


class Filler(NamedTuple):
    """Decodes and augments the images of a batch into an array, others for those that cannot be read, if it may."""

    dataset: Faces
    augment: Optional[Augment]
    seed: int
    replaces: bool = False

    def fill(self, out: np.ndarray, epoch: int, position: int, indices: np.ndarray) -> Filled:
        """Write images `indices`, at `position` and after in the epoch, to `out` uint8 (n, 3, H, W)."""
        faults: List[str] = []
        labels = np.empty(len(indices), np.float32)
        for row, index in enumerate(indices):
            image, labels[row] = self._read(int(index), faults)
            if self.augment is not None:
                image = self.augment(image, generator(self.seed, epoch, AUGMENT, position + row))
            out[row] = image.transpose(2, 0, 1)
        return Filled(labels, faults)

    def _read(self, index: int, faults: List[str]) -> Tuple[np.ndarray, int]:
        """Read an image, or the next one that can be read; note what could not."""
        for offset in range(MOST_TRIED):
            try:
                return self.dataset.read((index + offset) % len(self.dataset))
            except DataError as error:
                if not self.replaces:
                    raise
                faults.append(str(error))
        raise DataError(f'{faults[-1]}, nor can the {MOST_TRIED - 1} images before it')
