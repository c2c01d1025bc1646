"""Every kind of margin, its block, and its formula in plain float64."""

from __future__ import annotations

import math

import numpy as np

from recognition.losses.factory import build_loss
from recognition.losses.margin import ArcFace, CombinedMargin, CosFace, NormalizedSoftmax

MARGINS = {  # name: (m1, m2, m3), class
    'nsoftmax': ((1.0, 0.0, 0.0), NormalizedSoftmax),
    'cosface': ((1.0, 0.0, 0.35), CosFace),
    'arcface': ((1.0, 0.5, 0.0), ArcFace),
    'wide arcface': ((1.0, 2.0, 0.0), ArcFace),
    'combined': ((1.0, 0.3, 0.2), ArcFace),
    'multiplied': ((1.35, 0.0, 0.0), CombinedMargin),
    'all three': ((1.2, 0.4, 0.15), CombinedMargin),
    'below one': ((0.9, 0.0, 0.1), CombinedMargin),
    'sphereface': ((4.0, 0.0, 0.0), CombinedMargin),
}


def config(**changes):
    base = {
        'loss_name': 'margin_softmax', 'loss_s': 64.0, 'loss_m1': 1.0, 'loss_m2': 0.5, 'loss_m3': 0.0,
        'loss_centres': 1, 'num_classes': 3, 'emb_size': 4, 'fc7_lr_mult': 1.0,
        'fc7_wd_mult': 1.0, 'fc7_no_bias': False,
    }  # fmt: skip
    return {**base, **changes}


def build(name, **changes):
    if name == 'softmax':
        changes['loss_name'] = name
    else:
        changes.update(zip(('loss_m1', 'loss_m2', 'loss_m3'), MARGINS[name][0]))
    block = build_loss(config(**changes))
    block.initialize()
    return block


def formula(cos, m1, m2, m3):
    """Return cos(phi) - m3 for phi = m1 * theta + m2, in float64; past pi as the classes say."""
    cos = np.clip(np.asarray(cos, np.float64), -1, 1)
    phi = np.arccos(cos) * m1 + m2
    if m1 == 1:  # a line of slope 1
        return np.where(phi <= math.pi, np.cos(phi), cos - math.cos(math.pi - m2) - 1) - m3
    turns = np.floor(phi / math.pi)
    return (-1) ** turns * np.cos(phi) - 2 * turns - m3
