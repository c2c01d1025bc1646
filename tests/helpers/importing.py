"""Images and files for tests of the weight importer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import mxnet as mx

ROOT = Path(__file__).parents[2]


def images(side=32):
    return mx.nd.array(np.random.RandomState(1).randint(0, 256, (2, 3, side, side)))


def written(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith('new'))
