"""Photographs of nobody: random pixels, for tests that look at which images come, and not at what is on them."""

from __future__ import annotations

import numpy as np

from recognition.data.images import JPEG, encode_image
from recognition.data.writer import write_records

SIDE = 24


def face(seed, size=(SIDE, SIDE)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def write_noise(folder):
    """Write a data set of four identities, of 5, 6, 7 and 2 photographs; return its folder."""
    labels = np.repeat(range(4), [5, 6, 7, 2])
    samples = ((encode_image(face(seed), JPEG), int(label)) for seed, label in enumerate(labels))
    write_records(folder, samples, 4, (SIDE, SIDE, 3))
    return folder
