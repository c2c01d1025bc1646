"""Faces to choose the scales of a quantized network by: some of a folder's images, or of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, Tuple

import numpy as np

from config.errors import ConfigError, DataError
from recognition.data import FaceDataset
from recognition.files import PathLike
from recognition.inputs import Item, items, resized


def read_faces(folder: PathLike, size: Tuple[int, int], count: int) -> np.ndarray:
    """Return `count` images, uint8 RGB (N, H, W, 3) of `size` (height, width), taken evenly; all where there are fewer.

    folder: images, or a data set with `property` and train.rec. Raises DataError where it is neither, or an image
    cannot be read; ConfigError for a count below 1.
    """
    folder = Path(folder)
    if count < 1:
        raise ConfigError(f'{count} faces are too few to choose the scales by')
    if not folder.is_dir():
        raise DataError(f'{folder} is no folder')
    read: List[Callable[[], np.ndarray]]
    if (folder / 'property').is_file():
        faces = FaceDataset(folder)
        read = [lambda index=index: faces.read(index)[0] for index in _spread(len(faces), count)]  # type: ignore[misc]
    else:
        found: List[Item] = list(items(folder))
        read = [found[index].load for index in _spread(len(found), count)]
    return np.stack([_fitted(each(), size) for each in read])


def _spread(held: int, count: int) -> List[int]:
    """Return places in 0..held-1, all different, since they are 1 apart at least before they are rounded."""
    return [int(index) for index in np.linspace(0, held - 1, min(held, count)).round()]


def _fitted(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    return image if image.shape[:2] == size else resized(image, size)
