from __future__ import annotations

import numpy as np
import pytest

from config.errors import FaceSymbolsError
from tools.bench import network_suite, train

OURS = ['plain', 'plain, own threads', 'facesymbols', 'facesymbols, recompute']


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.setattr(network_suite, 'SECONDS', 0)
    # Two images would be too few: a batch norm of two vectors gives signs, and rounding turns some of them.
    # PyTorch 2.13 crashes in the gradient of a 1x1 convolution with stride 2 on 8 channels, channels last
    options = {'batch': 4, 'threads': 1, 'settings': {'net_multiplier': 0.25}, 'told': lambda _: None}
    return lambda **changed: train.measure(1, **{**options, **changed})


def assert_rows(rows, names):
    assert [row.name for row in rows] == names
    for row in rows:
        assert row.figures['seconds a step'] == 4 / row.figures['images/s'] > 0
    assert rows[0].ratios == {'images/s': 1}


@pytest.mark.slow
@pytest.mark.parametrize('network', ['r18', 'd121'])
def test_every_way_to_train_has_the_same_losses(measure, network):
    rows = measure(networks=(network,), against=['plain'])
    assert_rows(rows, [f'{network}, {name}' for name in OURS])


@pytest.mark.torch
@pytest.mark.parametrize('network', ['r18', 'd121'])
def test_pytorch_has_the_same_losses(measure, network):
    names = [*OURS, 'torch eager', 'torch channels-last']
    assert_rows(measure(networks=(network,), against=['torch']), [f'{network}, {name}' for name in names])


def test_losses_are_compared():
    wanted = np.array([7.0, 6.0, 5.0])
    train.check('a', wanted * [1.00005, 1.005, 0.995], wanted)
    for factors in ([1.0002, 1, 1], [1, 1.02, 1], [1, 1, np.nan]):
        with pytest.raises(FaceSymbolsError, match=r'a has the losses .* and plain 7, 6, 5'):
            train.check('a', wanted * factors, wanted)
