"""Pack aligned face images into a training set (train.rec, train.idx, property) or a pair set (.bin).

    facesymbols pack faces -o data/mine              faces/NAME/*.jpg, one folder for each person
    facesymbols pack faces.lst -o data/mine          lines `aligned<TAB>path<TAB>label`, as InsightFace's
    facesymbols pack --pairs pairs.txt -o mine.bin   lines `first second 0|1`

Paths in a list are relative to the list's folder.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from config.errors import ConfigError, DataError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_image_size, add_output, rgb_size
from recognition.data.image_sources import SUFFIXES
from recognition.data.images import JPEG, decode_image, encode_image, load_cv2
from recognition.data.writer import SET_FILES, write_pairs, write_records
from recognition.utils.output_paths import check_outputs, check_suffix
from recognition.utils.progress_bar import progress_bar

KEPT = (b'\xff\xd8', b'\x89PNG')  # how the encodings begin that every reader of these sets decodes
LEAST_PEOPLE = 2  # with one identity there is nothing to learn
log = logging.getLogger('pack')


class Person(NamedTuple):
    """One identity: its name in messages, and its image files."""

    name: str
    images: List[Path]


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
    """Brings image files to one size; bytes that are right already stay as they are."""

    def __init__(self, size: Tuple[int, int], quality: int) -> None:
        self.size = size
        self.quality = quality
        self.resized = 0

    def pack(self, path: Path) -> bytes:
        """Return the encoded image of a file; DataError when it cannot be read."""
        try:
            encoded = path.read_bytes()
        except OSError as error:
            raise DataError(f'cannot read the image {path}: {error.strerror}') from None
        image = decode_image(encoded, str(path))
        if image.shape[:2] == self.size:
            return encoded if encoded.startswith(KEPT) else encode_image(image, JPEG, quality=self.quality)
        self.resized += 1
        return encode_image(fit(image, self.size), JPEG, quality=self.quality)

    def report(self) -> str:
        """Say how many images had another size."""
        return f' ({self.resized} had another size and were cropped and scaled)' if self.resized else ''


def fit(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Cut the middle of an image (H, W, 3) to the proportions of `size` (height, width) and scale it."""
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
    """Return the people of a folder with one sub-folder of images for each, both in order of name."""
    if not folder.is_dir():
        raise DataError(
            f'there is no folder {folder}; give a folder with one folder of images for each person'
        )
    people = sorted(path for path in folder.iterdir() if path.is_dir())
    if not people:
        raise DataError(f'{folder} has no folder of images in it; one for each person is wanted')
    return [
        Person(str(person), sorted(file for file in person.iterdir() if file.suffix.lower() in SUFFIXES))
        for person in people
    ]


def listed_people(path: Path) -> List[Person]:
    """Return the people of a .lst file in order of label; a label without a line has no images."""
    images: Dict[int, List[Path]] = {}
    for number, line in read_lines(path):
        fields = line.split('\t')
        if len(fields) < 3 or fields[0] not in ('0', '1') or not fields[2].isdecimal():
            raise DataError(
                f'{path}, line {number} is {line[:60]!r} where aligned<TAB>path<TAB>label is wanted'
            )
        if fields[0] == '0':
            raise DataError(
                f'{path}, line {number}: {fields[1]} is marked as not aligned; align the faces first'
            )
        images.setdefault(int(fields[2]), []).append(path.parent / fields[1])
    if not images:
        raise DataError(f'{path} lists no image; lines aligned<TAB>path<TAB>label are wanted')
    labels = range(max(images) + 1)
    return [Person(f'{path}: label {label}', images.get(label, [])) for label in labels]


def listed_pairs(path: Path) -> List[Tuple[Path, Path, bool]]:
    """Return (first, second, same) for the lines `first second 0|1`; tabs where a path holds spaces."""
    pairs = []
    for number, line in read_lines(path):
        fields = line.split('\t') if '\t' in line else line.split()
        if len(fields) != 3 or fields[2] not in ('0', '1'):
            raise DataError(f'{path}, line {number} is {line[:60]!r} where `first second 0|1` is wanted')
        pairs.append((path.parent / fields[0], path.parent / fields[1], fields[2] == '1'))
    return pairs


def read_lines(path: Path) -> List[Tuple[int, str]]:
    """Return the lines of a text file that are not blank, with their numbers from 1."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise DataError(f'cannot read {path}; it should be a text file') from None
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def samples(people: Iterable[Person], packer: Packer, faults: Faults) -> Iterator[Tuple[bytes, int]]:
    """Yield (encoded image, label) for all people with a readable image, labelled 0, 1, ... in order."""
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
        if not person.images:
            faults.add(f'{person.name} has no image')
        elif not count and faults.skip:  # otherwise its images have been named already
            faults.add(f'{person.name} has no readable image')
        label += count > 0
    faults.refuse()
    if faults.sentences and label < LEAST_PEOPLE:
        left = f'{label} of the people' if label else 'nobody'
        raise DataError(f'--skip-bad leaves {left}, and a training set needs at least {LEAST_PEOPLE}')


def make_training_set(args: argparse.Namespace) -> None:
    """Write train.rec, train.idx and property for the people of `args.source`."""
    people = listed_people(args.source) if args.source.suffix == '.lst' else folder_people(args.source)
    read = [args.source, *(path for person in people for path in person.images)]
    check_outputs([args.output / name for name in SET_FILES], overwrite=args.overwrite, sources=read)
    packer = Packer(args.image_size[:2], args.quality)
    faces = samples(progress_bar(people, unit='people'), packer, Faults(args.skip_bad))
    count = write_records(args.output, faces, None, args.image_size)
    log.info(f'{args.output}: {count} images{packer.report()}')


def make_verification_set(args: argparse.Namespace) -> None:
    """Write a .bin of the pairs in `args.pairs`."""
    check_suffix(args.output, ['bin'])
    pairs = listed_pairs(args.pairs)
    read = [args.pairs, *(path for pair in pairs for path in pair[:2])]
    check_outputs([args.output], overwrite=args.overwrite, sources=read)
    packer, faults = Packer(args.image_size[:2], args.quality), Faults(args.skip_bad)
    encoded: Dict[Path, bytes] = {}
    for path in progress_bar(dict.fromkeys(path for pair in pairs for path in pair[:2]), unit='images'):
        try:
            encoded[path] = packer.pack(path)
        except DataError as error:
            faults.add(str(error))
    faults.refuse()
    kept = [pair for pair in pairs if pair[0] in encoded and pair[1] in encoded]
    if not kept:
        raise DataError(f'{args.pairs} has no pair of readable images; lines `first second 0|1` are wanted')
    images = [encoded[path] for pair in kept for path in pair[:2]]
    count = write_pairs(args.output, images, [pair[2] for pair in kept])
    log.info(f'{args.output}: {count} pairs of {len(encoded)} images{packer.report()}')


def quality(text: str) -> int:
    """Parse a JPEG quality."""
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f'{text!r} is no JPEG quality; give a whole number from 1 to 100')
    return int(text)


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('pack', __doc__)
    add = parser.add_argument
    add('source', nargs='?', type=Path, help='a folder with one folder of images per person, or a .lst file')
    add('--pairs', type=Path, metavar='FILE', help='pack the pairs in FILE, one `first second 0|1` a line')
    add_output(parser, 'PATH', 'the folder of the training set, or the .bin of the pairs')
    add_image_size(parser, 'in pixels (default: 112,112)', type=rgb_size, default=rgb_size('112,112'))
    parser.rename('--size', '--image-size')
    add(
        '--quality',
        type=quality,
        default=95,
        metavar='1..100',
        help='of images encoded again (default: %(default)s)',
    )
    add('--skip-bad', action='store_true', help='leave out unreadable images and people without images')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the set that the command line asks for; on a fault write nothing."""
    args = build_parser().parse_args(argv)
    if (args.source is None) == (args.pairs is None):
        raise ConfigError('give either a source of people or --pairs FILE')
    logging.basicConfig(format='%(message)s', level=logging.INFO)
    (make_training_set if args.pairs is None else make_verification_set)(args)
