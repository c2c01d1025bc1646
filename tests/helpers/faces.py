"""Photographs of the ORL set, small, for tests of what needs real faces."""

from __future__ import annotations

import cv2
import numpy as np

from recognition.data.orl import draw_pairs, load_photographs
from recognition.embed import Embedder


def photographs(people, size):
    """Return the ten photographs of each of these people as uint8 RGB (N, H, W, 3) of `size` (height, width)."""
    grey = load_photographs(people).reshape(-1, 112, 112)
    fitted = (cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA) for photo in grey)
    return np.stack([np.repeat(photo[..., None], 3, axis=2) for photo in fitted])


def photograph_pairs(people, size):
    """Return pairs of these people as uint8 RGB (2 P, H, W, 3), and issame (P,)."""
    indices, issame = draw_pairs(len(people))
    return photographs(people, size)[indices.ravel()], issame


def judged_by(network, images):
    """Return issame (P,) of pairs as a network itself sees it: those nearer than half of them are the same person.

    So its own accuracy is high, whatever it computes, and that of one that computes something else is lower.
    """
    rows = Embedder.load(network, 'onnxruntime')(images)
    distance = np.square(rows[::2] - rows[1::2]).sum(axis=1)
    return distance < np.median(distance)
