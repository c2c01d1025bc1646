"""A small training for tests: six made-up people, a network of a few channels, and its command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from config import resolve
from recognition.data.writer import write_pairs, write_records

ROOT = Path(__file__).resolve().parents[2]
PEOPLE, PHOTOS, SIDE = 6, 8, 32
CLASSES = ('ant', 'bee', 'cat', 'dog', 'elk', 'fox')
SMALL = {  # 8 steps an epoch; a step takes milliseconds
    'net_multiplier': 0.0625,
    'emb_size': 16,
    'image_shape': (SIDE, SIDE, 3),
    'num_classes': 0,
    'per_batch_size': 6,
    'loss_s': 8.0,
    'lr': 0.05,
    'lr_steps': '',
    'end_epoch': 2,
    'data_shift': 1.0,
    'frequent': 4,
}
TOLD = (
    'model-config.json',
    'model-environment.json',
    'model-history.jsonl',
)  # what a run tells beside its checkpoints


def photographs(seed=0):
    """Six people, each a pattern of their own with noise, as (PNG, label)."""
    random = np.random.RandomState(seed)
    for person in range(PEOPLE):
        face = np.random.RandomState(person).randint(0, 256, (4, 4, 3)).astype(np.uint8)
        face = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for _ in range(PHOTOS):
            noisy = np.clip(face + random.normal(0, 12, face.shape), 0, 255).astype(np.uint8)
            yield cv2.imencode('.png', noisy)[1].tobytes(), person


def write_faces(folder):
    """Write a data set with one set of pairs, `val.bin`."""
    write_records(folder, photographs(), None, (SIDE, SIDE, 3))
    faces = [image for image, _ in photographs(seed=1)]
    same = [(faces[8 * p + 2 * k], faces[8 * p + 2 * k + 1]) for p in range(PEOPLE) for k in range(2)]
    other = [(faces[8 * p + k], faces[8 * ((p + 1) % PEOPLE) + k]) for p in range(PEOPLE) for k in range(2)]
    pairs = [image for two in zip(same, other) for pair in two for image in pair]
    write_pairs(folder / 'val.bin', pairs, [True, False] * len(same))
    return folder


def write_class_set(folder):
    """Write a data set of six classes with test.rec and classes.txt; the test set has no image of the last class."""
    tests = [each for number, each in enumerate(photographs(seed=1)) if number % 2 and each[1] < PEOPLE - 1]
    write_records(folder, photographs(), None, (SIDE, SIDE, 3), test=tests, classes=CLASSES)
    return folder


def classes_config(folder, **settings):
    grey = {**SMALL, 'image_shape': (SIDE, SIDE, 1)}
    return resolve('r18', 'images', 'classes', dataset_path=str(folder), **{**grey, **settings})


def config(folder, **settings):
    return resolve('r18', 'folder', 'cosface', dataset_path=str(folder), **{**SMALL, **settings})


def files(prefix):
    return {path.name: path.read_bytes() for path in sorted(prefix.parent.glob('*'))}


def command(folder, prefix, **settings):
    """The command line that stands for `config(folder, **settings)`."""
    words = [
        sys.executable,
        '-W',
        'ignore',
        '-m',
        'recognition.train',
        '--network',
        'r18',
        '--loss',
        'cosface',
    ]
    words += ['--dataset-path', str(folder), '--prefix', str(prefix)]
    for key, value in {**SMALL, **settings}.items():
        shown = ','.join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += ['--' + key.replace('_', '-'), shown]
    return words


def launch(words):
    return subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def refused(error, words, call, prefix):
    """Run `call` and see that it is refused with one sentence and that no file changes."""
    before = files(prefix)
    with pytest.raises(error, match=words) as caught:
        call()
    assert '\n' not in str(caught.value)
    assert files(prefix) == before
