"""Pack images into a training set (train.rec, train.idx, property), with classes and a test set, or a pair set (.bin).

    facesymbols pack faces -o data/mine              faces/NAME/*.jpg, one folder for each person
    facesymbols pack birds --test-share 0.1 -o data/birds       birds/CLASS/*.jpg; test.rec and classes.txt besides
    facesymbols pack birds --test birds-test -o data/birds      the same with the test images of another folder
    facesymbols pack train-images-idx3-ubyte.gz --test t10k-images-idx3-ubyte.gz -o data/mnist
    facesymbols pack faces.lst -o data/mine          lines `aligned<TAB>path<TAB>label`, as InsightFace's, or im2rec's,
                                                     `index<TAB>label<TAB>path`
    facesymbols pack --pairs pairs.txt -o mine.bin   lines `first second 0|1`

Paths in a list are relative to the list's folder. A folder is searched with those below it; what is hidden is left
out. Images of another size are cropped to the right proportions and scaled; those of class folders with a test set are
stretched, as predict does it.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import Dict, Optional, Sequence

from config.errors import ConfigError, DataError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_image_size, add_output, positive, rgb_size, share
from recognition.data.list_files import listed_pairs, listed_people
from recognition.data.packing import (
    Faults,
    Packer,
    Person,
    class_sources,
    folder_people,
    samples,
    split_classes,
)
from recognition.data.writer import CLASS_FILES, SET_FILES, write_pairs, write_records
from recognition.utils.output_paths import check_outputs, check_suffix
from recognition.utils.progress_bar import progress_bar

log = logging.getLogger('pack')


def make_training_set(args: argparse.Namespace) -> None:
    """Write train.rec, train.idx and property for the people of `args.source`."""
    people = listed_people(args.source) if args.source.suffix == '.lst' else folder_people(args.source)
    _check_set(args, people)
    packer = Packer(args.image_size[:2], args.quality)
    faces = samples(progress_bar(people, unit='people'), packer, Faults(args.skip_bad))
    count = write_records(args.output, faces, None, args.image_size)
    log.info(f'{args.output}: {count} images{packer.report()}')


def make_class_set(args: argparse.Namespace) -> None:
    """Write the set of the classes of `args.source`, with test.rec where it is asked for, and classes.txt."""
    _check_class_options(args)
    faults = Faults(args.skip_bad)
    classes = _classes_with_images(args, faults)
    train = [*classes.values()]
    test = None
    if args.test:
        found = class_sources(args.test, args.classes)
        unknown = next((name for name in found if name not in classes and len(found[name].images)), None)
        if unknown is not None:
            raise DataError(f'{args.test} has the class {unknown!r}, which {args.source} does not have')
        test = [found.get(name, Person(name, [])) for name in classes]
        if not any(len(person.images) for person in test):
            raise DataError(f'{args.test} has no image')
    elif args.test_share:
        train, test = split_classes(train, args.test_share, args.seed)
    _check_set(args, [*train, *(test or [])])
    packer = Packer(args.image_size[:2], args.quality, stretch=args.source.is_dir())
    count = write_records(
        args.output,
        samples(progress_bar(train, unit='classes'), packer, faults, fixed=True, needed=True),
        len(train),
        args.image_size,
        test=None if test is None else samples(test, packer, faults, fixed=True),
        classes=[*classes],
    )
    tests = '' if test is None else f' and {packer.packed - count} to test'
    log.info(f'{args.output}: {count} images to train{tests}, of {len(classes)} classes{packer.report()}')


def _classes_with_images(args: argparse.Namespace, faults: Faults) -> Dict[str, Person]:
    """Return the classes of `args.source`; those without images are faults."""
    found = class_sources(args.source, args.classes)
    for person in found.values():
        if not len(person.images):
            faults.add(f'{person.name} has no image')
    faults.refuse()
    return {name: person for name, person in found.items() if len(person.images)}


def _check_class_options(args: argparse.Namespace) -> None:
    if args.source.suffix == '.lst':
        raise ConfigError(
            f'{args.source} is a list of faces; --test, --test-share and --classes go with folders and '
            'IDX files'
        )
    if args.test and args.test_share is not None:
        raise ConfigError('--test and --test-share contradict each other; give one')
    if args.test and os.path.realpath(args.test) == os.path.realpath(args.source):
        raise ConfigError(
            f'--test {args.test} has the images to train; give others, or --test-share, which draws some to test alone'
        )
    if args.classes and not args.source.is_file():
        raise ConfigError(
            f'--classes {args.classes} goes with an IDX file; the folders in {args.source} name their classes'
        )


def _check_set(args: argparse.Namespace, people: Sequence[Person]) -> None:
    """Raise ConfigError where a file of the set cannot be written, may not be replaced, or is read."""
    files = [path for person in people for path in person.images if isinstance(path, Path)]
    read = [args.source, *(path for path in (args.test, args.classes) if path), *files]
    names = (*SET_FILES, *CLASS_FILES)
    check_outputs([args.output / name for name in names], overwrite=args.overwrite, sources=read)


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
    add(
        'source',
        nargs='?',
        type=Path,
        help='a folder with one folder of images per person or class, a .lst file, or an IDX file of images',
    )
    add('--pairs', type=Path, metavar='FILE', help='pack the pairs in FILE, one `first second 0|1` a line')
    add('--test', type=Path, metavar='PATH', help='folder or IDX file of the same classes, for test.rec')
    add('--test-share', type=share, metavar='SHARE', help='share of the images of each class for test.rec')
    add(
        '--seed',
        type=positive,
        default=1,
        metavar='N',
        help='of the draw of --test-share (default: %(default)s)',
    )
    add('--classes', type=Path, metavar='FILE', help='names of the classes of an IDX file, one a line')
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
    add(
        '--skip-bad',
        action='store_true',
        help='leave out unreadable images, and people and classes without images',
    )
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the set that the command line asks for; on a fault write nothing."""
    args = build_parser().parse_args(argv)
    if (args.source is None) == (args.pairs is None):
        raise ConfigError('give either a source of people or --pairs FILE')
    logging.basicConfig(format='%(message)s', level=logging.INFO)
    of_classes = args.test or args.classes or args.test_share is not None
    if args.pairs is not None:
        if of_classes:
            raise ConfigError('--test, --test-share and --classes do not go with --pairs')
        make_verification_set(args)
    elif of_classes or (args.source.is_file() and args.source.suffix != '.lst'):
        make_class_set(args)
    else:
        make_training_set(args)
