"""Any preset with any head, activation, embedding size and image size: a sample of them, drawn from a fixed seed."""

from __future__ import annotations

import random

import pytest

from config import network, resolve
from symbols import get_symbol, list_activations, list_heads
from tests.helpers.families import MAPS

SIZES = ((112, 112), (224, 224), (112, 96), (97, 113), (160, 128))
QUICK, ALL = 25, 250


def combinations():
    """Yield samples in which each preset comes equally often; slow are all but the first few."""
    rng = random.Random(0)
    for number in range(ALL):
        settings = {
            'net_output': rng.choice(list_heads()),
            'net_act': rng.choice(list_activations()),
            'emb_size': rng.choice((64, 128, 256, 512, 1024)),
            'image_shape': (*rng.choice(SIZES), 3),
        }
        preset = list(network)[number % len(network)]
        yield pytest.param(preset, settings, id=str(number), marks=[] if number < QUICK else pytest.mark.slow)


@pytest.mark.parametrize(('preset', 'settings'), list(combinations()))
def test_any_combination_can_be_built(preset, settings):
    cfg = resolve(preset, **settings)
    height, width, channels = cfg.image_shape
    _, (shape,), _ = get_symbol(cfg).infer_shape(data=(2, channels, height, width))
    if cfg.net_output in MAPS:
        assert len(shape) == 4
    elif cfg.net_output == 'pool':
        assert (len(shape), shape[0]) == (2, 2)
    else:
        assert shape == (2, cfg.num_classes if cfg.net_output == 'classifier' else cfg.emb_size)
