"""Images of people or classes, from folders and IDX files, brought to one size and encoded for a data set."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from config.errors import DataError
from config.reading import read_bytes
from recognition.data.class_names import read_classes
from recognition.data.idx_files import labels_of, read_labelled
from recognition.data.image_sources import folders_in, images_below, resized
from recognition.data.images import JPEG, PNG, decode_image, encode_image, load_cv2

KEPT = (b'\xff\xd8', b'\x89PNG')  # how the encodings begin that every reader of these sets decodes
LEAST_PEOPLE = 2  # with one identity there is nothing to learn
log = logging.getLogger('pack')


class Person(NamedTuple):
    """One identity or class: its name in messages, and its image files, or grey images uint8 (H, W)."""

    name: str
    images: Sequence[Union[Path, np.ndarray]]


class Faults:
    """Faults of the input, a sentence each: left out with a warning, or kept together to refuse them all."""

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.sentences: List[str] = []

    def add(self, sentence: str) -> None:
        """Note a fault."""
        self.sentences.append(sentence)
        if self.skip:
            log.warning(f'left out: {sentence}')

    def refuse(self) -> None:
        """Raise DataError for what was noted and not left out."""
        if self.skip or not self.sentences:
            return
        if len(self.sentences) == 1:
            raise DataError(self.sentences[0])
        for sentence in self.sentences:
            log.error(sentence)
        raise DataError(
            f'{len(self.sentences)} faults, named above, so nothing is written; --skip-bad leaves them out'
        )


class Packer:
    """Brings image files to one size; bytes that are right already stay as they are.

    stretch: files are stretched, as by `facesymbols predict`; else the middle is cut out to the right proportions.
    """

    def __init__(self, size: Tuple[int, int], quality: int, *, stretch: bool = False) -> None:
        self.size = size
        self.quality = quality
        self.fit = resized if stretch else fit
        self.packed = self.resized = 0

    def pack(self, source: Union[Path, np.ndarray]) -> bytes:
        """Return the encoded image of a file, or of pixels as PNG; DataError when it cannot be read."""
        encoded = self._pixels(source) if isinstance(source, np.ndarray) else self._file(source)
        self.packed += 1
        return encoded

    def _pixels(self, image: np.ndarray) -> bytes:
        if image.shape != self.size:
            self.resized += 1
            image = fit(image, self.size)
        return encode_image(image, PNG)

    def _file(self, path: Path) -> bytes:
        encoded = read_bytes(path, DataError)
        image = decode_image(encoded, str(path))
        if image.shape[:2] == self.size:
            return encoded if encoded.startswith(KEPT) else encode_image(image, JPEG, quality=self.quality)
        self.resized += 1
        return encode_image(self.fit(image, self.size), JPEG, quality=self.quality)

    def report(self) -> str:
        """Say how many images had another size."""
        how = 'stretched' if self.fit is resized else 'cropped and scaled'
        return f' ({self.resized} had another size and were {how})' if self.resized else ''


def fit(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Cut the middle of an image (H, W, 3) or (H, W) to the proportions of `size` (height, width) and scale it."""
    cv2 = load_cv2()
    height, width = image.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    high, wide = min(height, round(size[0] / scale)), min(width, round(size[1] / scale))
    top, left = (height - high) // 2, (width - wide) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(
        cv2.resize(image[top : top + high, left : left + wide], size[::-1], interpolation=method)
    )


def folder_people(folder: Path) -> List[Person]:
    """Return the people of a folder with one sub-folder of images for each, in order of name; none that are hidden."""
    if not folder.is_dir():
        raise DataError(
            f'there is no folder {folder}; give a folder with one folder of images for each person or '
            'class, or an IDX file'
        )
    people = folders_in(folder)
    if not people:
        raise DataError(f'{folder} has no folder of images in it; one for each person or class is wanted')
    return [Person(str(person), images_below(person)) for person in people]


def samples(
    people: Iterable[Person], packer: Packer, faults: Faults, *, fixed: bool = False, needed: bool = False
) -> Iterator[Tuple[bytes, int]]:
    """Yield (encoded image, label) for all people with a readable image, labelled 0, 1, ... in order.

    fixed: everyone has a label, and may be without images. needed: one without a readable image is a DataError.
    """
    label = 0
    for person in people:
        count = 0
        for path in person.images:
            try:
                encoded = packer.pack(path)
            except DataError as error:
                faults.add(str(error))
                continue
            count += 1
            yield encoded, label
        if not len(person.images):
            if not fixed:
                faults.add(f'{person.name} has no image')
        elif not count and needed and faults.skip:
            raise DataError(f'{person.name} has no readable image, and each class needs one to train')
        elif not count and faults.skip:  # otherwise its images have been named already
            faults.add(f'{person.name} has no readable image')
        label += fixed or count > 0
    faults.refuse()
    if faults.sentences and label < LEAST_PEOPLE:
        left = f'{label} of the people' if label else 'nobody'
        raise DataError(f'--skip-bad leaves {left}, and a training set needs at least {LEAST_PEOPLE}')


def class_sources(source: Path, names: Optional[Path]) -> Dict[str, Person]:
    """Return the classes of a folder or of an IDX file of images by their names, in the order of their labels.

    names: a file of the names of an IDX file's classes, which are else called by their numbers. Raises DataError where
    the source, its labels or the names are missing, damaged or do not fit.
    """
    if not source.is_file():
        people = {Path(person.name).name: person for person in folder_people(source)}
        unfit = [name for name in people if not name.isprintable() or name != name.strip()]
        if unfit:
            raise DataError(f'{source}: {unfit[0]!r} cannot be the name of a class, which is a line of text')
        return people
    images, labels = read_labelled(source)
    highest = int(labels.max())
    known = read_classes(names) if names else [*map(str, range(highest + 1))]
    if highest >= len(known):
        raise DataError(
            f'{labels_of(source)} has the label {highest}, and {names} names {len(known)} classes'
        )
    return {
        name: Person(f'{source}: class {name}', images[labels == label]) for label, name in enumerate(known)
    }


def split_classes(classes: Sequence[Person], share: float, seed: int) -> Tuple[List[Person], List[Person]]:
    """Return the classes without a share 0..1 of the images of each, drawn at random, and with that share alone.

    Of a class with two images or more one is drawn at least, and one stays.
    """
    rest: List[Person] = []
    drawn: List[Person] = []
    for label, (name, images) in enumerate(classes):
        count = min(len(images) - 1, max(1, round(share * len(images)))) if share else 0
        order = np.random.default_rng([seed, label]).permutation(len(images))
        for part, chosen in ((drawn, order[:count]), (rest, order[count:])):
            part.append(Person(name, [images[index] for index in np.sort(chosen)]))
    return rest, drawn
