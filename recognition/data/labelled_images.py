"""Labelled images to judge a classifier by: a data set with test.rec or train.rec, or a folder of class folders."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import List, NamedTuple, Sequence

import numpy as np

from config.errors import DataError
from recognition.data.dataset import TRAIN, FaceDataset, class_names
from recognition.data.image_sources import Item, folders_in, image_files, read_image
from recognition.data.images import decode_image
from recognition.utils.files import PathLike, readable

TEST = 'test'
logger = logging.getLogger(__name__)


class LabelledImages(NamedTuple):
    """Images, each with the number of its class, int64 (N,)."""

    items: List[Item]
    labels: np.ndarray


def open_labelled(path: PathLike, channels: int, classes: Sequence[str], *, named: bool) -> LabelledImages:
    """Return the images of a data set or of class folders, labelled by the numbers of `classes`.

    named: whether `classes` are names, or only numbers. Class folders are found by name; a data set must have the same
    classes in the same order. Raises DataError where the classes differ.
    """
    folder, folders = Path(path), check_labelled(path)
    if folders:
        return _of_folders(folder, folders, channels, classes, named)
    return _of_data_set(folder, channels, classes, named)


def check_labelled(path: PathLike) -> List[Path]:
    """Return the class folders at a path, none for a data set; DataError where it is neither."""
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f'there is no folder {readable(folder)}')
    if (folder / 'property').is_file():
        return []
    found = folders_in(folder)
    if not found:
        raise DataError(
            f'{readable(folder)} is neither a data set, with property and records, nor a folder of class folders'
        )
    return found


def _of_data_set(folder: Path, channels: int, classes: Sequence[str], named: bool) -> LabelledImages:
    name = TEST if (folder / f'{TEST}.rec').is_file() else TRAIN
    if name == TRAIN:
        logger.warning('%s has no %s.rec: its training images are judged', readable(folder), TEST)
    dataset = FaceDataset(folder, name=name)
    _check_count(folder, dataset.num_classes, classes)
    for number, (theirs, ours) in enumerate(zip(class_names(folder), classes if named else ())):
        if theirs != ours:
            raise DataError(
                f'class {number} of {readable(folder)} is {theirs!r}, and that of the network is {ours!r}; both need '
                'the same classes in the same order'
            )

    def load(index: int) -> np.ndarray:
        return decode_image(dataset.encoded(index)[0], dataset.where(index), channels)

    return LabelledImages(
        [Item(dataset.where(index), partial(load, index)) for index in range(len(dataset))], dataset.labels
    )


def _of_folders(
    folder: Path, found: Sequence[Path], channels: int, classes: Sequence[str], named: bool
) -> LabelledImages:
    if not named:
        _check_count(folder, len(found), classes)
    numbers = {
        name: number for number, name in enumerate(classes if named else [each.name for each in found])
    }
    unknown = next((each.name for each in found if each.name not in numbers), None)
    if unknown is not None:
        raise DataError(f'{readable(folder / unknown)} is named for no class of the network')
    files = [(file, numbers[each.name]) for each in found for file in image_files(each)]
    return LabelledImages(
        [Item(readable(file), partial(read_image, file, channels)) for file, _ in files],
        np.array([label for _, label in files], np.int64),
    )


def _check_count(folder: Path, count: int, classes: Sequence[str]) -> None:
    if count != len(classes):
        raise DataError(
            f'{readable(folder)} has {count} classes, and the network gives {len(classes)} scores'
        )
