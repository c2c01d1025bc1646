"""The importer of weights, and what its tests share."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

import mxnet as mx

ROOT = Path(__file__).parents[2]
main = runpy.run_path(str(ROOT / 'tools' / 'import_weights.py'))['main']


def images(side=32):
    return mx.nd.array(np.random.RandomState(1).randint(0, 256, (2, 3, side, side)))


def written(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith('new'))
