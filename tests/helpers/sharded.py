"""A small classifier in parts, for tests."""

from __future__ import annotations

import numpy as np

from config import resolve
from tests.recognition.training.test_trainer import SIDE

import mxnet as mx

IDENTITIES, WIDTH, BATCH = 23, 6, 12


def settings(**more):
    both = {
        'emb_size': WIDTH,
        'num_classes': IDENTITIES,
        'loss_s': 8.0,
        'fc7_sharded': True,
        'clip_norm': 0.7,
    }
    return resolve('r18', 'folder', 'cosface', **{**both, 'image_shape': (SIDE, SIDE, 3), **more})


def devices(number):
    return [mx.cpu(device) for device in range(number)]


def close(one, other, tolerance=1e-5):
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
