"""Training faces: a folder of records in InsightFace's layouts, or several folders joined into one set."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np

from config.errors import DataError, first_few
from config.reading import read_bytes
from recognition.data.class_names import FILE as CLASSES
from recognition.data.class_names import read_classes
from recognition.data.image_headers import size_fault
from recognition.data.images import decode_image
from recognition.data.loader import FaceLoader
from recognition.data.record_layout import read_layout
from recognition.data.records import Records
from recognition.utils.files import PathLike

__all__ = ['FaceDataset', 'FaceLoader', 'JoinedDataset', 'open_faces', 'split_path']

FILES = {
    'property': 'one line num_classes,height,width',
    'train.rec': 'the images as RecordIO',
}
TRAIN = 'train'
SIDE = re.compile(r'0*[1-9]\d{0,8}')  # a number above 0
PARTS = '{}_*.rec'  # of a set that is cut into several files


class FaceDataset:
    """The training faces of a folder: `len(dataset)` images, each with the label of its identity.

    folder: holds property and train.rec, or parts train_*.rec of one set, each with or without its index .idx.
    image_shape: (H, W, C) that the network wants, grey with 1 channel and RGB with 3; the folder's own H and W, in RGB,
    where it is None. use_index: False reads the records in the order of the file, as InsightFace does with
    `is_shuffled_rec`. fewest: identities with fewer images are left out; the labels of the others stay. name: of the
    record files; of another set than `train`, a test set say, which may lack images of some classes.
    num_classes: how many identities; image_shape: (H, W, C); keys: record keys int64 (n,); labels: int64 (n,)
    in 0..num_classes-1.

    Opening reads one record and one image header for each identity (flat layout: each image's header), not
    the images. Raises DataError, naming file and record, for a file that is missing, damaged or contradicts
    another one.
    """

    def __init__(
        self,
        folder: PathLike,
        image_shape: Optional[Sequence[int]] = None,
        *,
        use_index: bool = True,
        fewest: int = 0,
        name: str = TRAIN,
    ) -> None:
        self.folder = Path(folder)
        paths = record_files(self.folder, name)
        self.num_classes, self.image_shape = read_property(self.folder / 'property')
        if image_shape is not None and tuple(image_shape[:2]) != self.image_shape[:2]:
            raise DataError(
                f'{self.folder / "property"} says images of {size_text(self.image_shape)} pixels, '
                f'and the network wants {size_text(image_shape)}; image_shape (--image-size) sets what it takes'
            )
        if image_shape is not None:
            self.image_shape = (*self.image_shape[:2], int(image_shape[2]))
        self._parts = [Records(path, index_of(path) if use_index else None) for path in paths]
        layouts = [read_layout(part, self.num_classes) for part in self._parts]
        self.keys = np.concatenate([layout.keys for layout in layouts])
        self.labels = np.concatenate([layout.labels for layout in layouts])
        self._which = np.repeat(np.arange(len(layouts)), [len(layout.keys) for layout in layouts])
        if name == TRAIN:
            self._check_count(any(layout.indexed for layout in layouts))
        if fewest > 1:
            self._leave_out(fewest)

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, index: int) -> Tuple[np.ndarray, int]:
        """Return image `index` as uint8 (H, W, C) and its label; DataError where the record has none."""
        encoded, label = self.encoded(index)
        image = decode_image(encoded, self.where(index), self.image_shape[2])
        if image.shape != self.image_shape:
            raise DataError(
                f'{self.where(index)} is an image of {size_text(image.shape)} pixels, and property says '
                f'{size_text(self.image_shape)}'
            )
        return image, label

    def encoded(self, index: int) -> Tuple[bytes, int]:
        """Return image `index` as it is in its record, and its label; DataError where the record has another one."""
        key, label = int(self.keys[index]), int(self.labels[index])
        header, encoded = self._parts[self._which[index]].unpack(key)
        if header.labels[0] != label:
            raise DataError(
                f'{self.where(index)} has label {header.labels[0]:g}, '
                f'and the first image of its identity has label {label}'
            )
        return encoded, label

    def where(self, index: int) -> str:
        """Return the words that name the record of image `index`."""
        return self._parts[self._which[index]].where(int(self.keys[index]))

    def close(self) -> None:
        """Close the record files; reading on raises DataError."""
        for part in self._parts:
            part.close()

    def _check_count(self, indexed: bool) -> None:
        """Raise DataError unless every class of property has an image."""
        present = np.unique(self.labels)
        if len(present) == self.num_classes:
            return
        what = 'identity records' if indexed else 'labels'
        if not indexed:
            after = np.flatnonzero(present != np.arange(len(present)))
            what += f' (label {after[0] if len(after) else len(present)} has no image)'
        held = self._parts[0].path if len(self._parts) == 1 else self.folder / PARTS.format(TRAIN)
        raise DataError(
            f'{self.folder / "property"} says {self.num_classes} classes, and {held} has {len(present)} {what}'
        )

    def _leave_out(self, fewest: int) -> None:
        kept = np.bincount(self.labels)[self.labels] >= fewest
        if not kept.any():
            raise DataError(
                f'no identity of {self.folder} has data_images_filter={fewest} images; a lower number keeps some'
            )
        self.keys, self.labels, self._which = self.keys[kept], self.labels[kept], self._which[kept]


class JoinedDataset:
    """Several data sets as one: the identities of each come after those of the sets before it.

    Read as a FaceDataset is; an identity that is in two of them counts as two. Raises DataError for images of different
    sizes.
    """

    def __init__(self, sets: Sequence[FaceDataset]) -> None:
        self.sets = list(sets)
        self.folder, self.image_shape = sets[0].folder, sets[0].image_shape
        for other in sets[1:]:
            if other.image_shape != self.image_shape:
                raise DataError(
                    f'{self.folder} has images of {size_text(self.image_shape)} pixels, and {other.folder} of '
                    f'{size_text(other.image_shape)}; sets that are joined have images of one size'
                )
        self.num_classes = sum(each.num_classes for each in sets)
        self._first_labels = np.cumsum([0, *(each.num_classes for each in sets)])
        self._first_images = np.cumsum([0, *map(len, sets)])
        self.labels = np.concatenate([each.labels + first for each, first in zip(sets, self._first_labels)])

    def __len__(self) -> int:
        return int(self._first_images[-1])

    def read(self, index: int) -> Tuple[np.ndarray, int]:
        """Return image `index` as uint8 (H, W, C) and its label; DataError where the record has none."""
        which = int(np.searchsorted(self._first_images, index, side='right')) - 1
        image, label = self.sets[which].read(int(index - self._first_images[which]))
        return image, int(label + self._first_labels[which])

    def close(self) -> None:
        """Close all of them; reading on raises DataError."""
        for each in self.sets:
            each.close()


TrainingFaces = Union[FaceDataset, JoinedDataset]


def open_faces(
    path: PathLike,
    image_shape: Optional[Sequence[int]] = None,
    *,
    use_index: bool = True,
    fewest: int = 0,
    name: str = TRAIN,
) -> TrainingFaces:
    """Open the folder `path`, or several of them with `:` between as in PATH, as one set; errors are FaceDataset's."""
    sets = [
        FaceDataset(folder, image_shape, use_index=use_index, fewest=fewest, name=name)
        for folder in split_path(path)
    ]
    return sets[0] if len(sets) == 1 else JoinedDataset(sets)


def split_path(path: PathLike) -> List[Path]:
    """Return the folders that a path names; a folder whose own name has the separator in it is one."""
    text = os.fspath(path)
    if os.path.isdir(text):
        return [Path(text)]
    return [Path(part) for part in text.split(os.pathsep) if part] or [Path(text)]


def record_files(folder: Path, name: str = TRAIN, *, needs_property: bool = True) -> List[Path]:
    """Return the record files of a data set: name.rec, or else name_*.rec; DataError where something is missing."""
    if not folder.is_dir():
        raise DataError(f'there is no folder {folder}; a data set is a folder with {", ".join(FILES)}')
    whole = folder / f'{name}.rec'
    paths = [whole] if whole.is_file() else sorted(folder.glob(PARTS.format(name)))
    if not paths and name != TRAIN:
        raise DataError(
            f'{folder} has no {name}.rec (labelled images as RecordIO, as `facesymbols pack` makes it)'
        )
    for file, content in FILES.items():
        wanted = needs_property if file == 'property' else not paths
        if wanted and not (folder / file).is_file():
            raise DataError(
                f'{folder} has no {file} ({content}); a data set is {" and ".join(FILES)} together'
            )
    return paths


def class_names(path: PathLike) -> List[str]:
    """Return the names in the classes.txt of each of the folders that a path names; [] where one has none.

    Raises DataError for a file that does not name the classes of its folder, and for a name that two folders have.
    """
    names: List[str] = []
    for folder in split_path(path):
        file = folder / CLASSES
        if not file.exists():
            return []
        own = read_classes(file, read_property(folder / 'property')[0])
        twice = sorted({*names} & {*own})
        if twice:
            raise DataError(
                f'{file} and that of a folder before it both name {first_few(map(repr, twice))}; sets that are joined '
                'have different classes'
            )
        names += own
    return names


def read_property(path: Path) -> Tuple[int, Tuple[int, int, int]]:
    """Return (num_classes, (H, W, 3)) from the first line of a `property` file; others are not read."""
    lines = read_bytes(path, DataError).decode('utf-8-sig', 'replace').splitlines()
    line = lines[0] if lines else ''
    fields = [field.strip() for field in line.split(',')]
    if len(fields) != 3 or not all(SIDE.fullmatch(field) for field in fields):
        raise DataError(
            f'{path} begins with {line[:60]!r} where {FILES["property"]} is wanted, as in 85742,112,112'
        )
    classes, height, width = (int(field) for field in fields)
    fault = size_fault((height, width))
    if fault:
        raise DataError(f'{path} says images of {fault}')
    return classes, (height, width, 3)


def index_of(path: Path) -> Optional[Path]:
    """Return the index file of a record file, or None where there is none."""
    index = path.with_suffix('.idx')
    return index if index.is_file() else None


def size_text(shape: Sequence[int]) -> str:
    """Return 'HxW' of an image's shape."""
    return 'x'.join(str(side) for side in shape[:2])
