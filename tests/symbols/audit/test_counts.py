"""The size of every preset."""

from __future__ import annotations

from math import prod

import pytest

from config import network, resolve
from symbols import get_symbol
from tests.helpers.families import expected

# Parameters (all arguments but the images) and elements of the auxiliary states.
COUNTS = {
    'r18': (24025600, 14720),
    'r34': (34139328, 25856),
    'r50': (43590848, 38144),
    'r50v1': (43585920, 27392),
    'r100': (65156160, 69632),
    'r100fc': (65156160, 69632),
    'r200': (75498688, 87296),
    'd121': (32639991, 86720),
    'd161': (81860895, 225376),
    'd169': (54228263, 162752),
    'd201': (66259783, 233920),
    'xception': (72192808, 59648),
    'keras_xception': (22910480 - 54528, 54528),
    'article_xception': (22817480 - 11632, 11632),
    'y1': (1003264, 19584),
    'y2': (1996288, 38400),
    # As PyTorch counts arcface_torch's own, and 512 biases of the fully connected layer, which has none there.
    'mbf': (2059520 + 512, 23808),
    'mbf_large': (6314880 + 512, 52736),
    'm1': (3400960, 23424),
    'm05': (982016, 12480),
    'mnas': (3260556, 39968),
    'mnas05': (925400, 20240),
    'mnas025': (286782, 10376),
    'vargfacenet': (4957512, 41744),
    'keras_densenet121': (8062504 - 83648, 83648),
    'keras_densenet169': (14307880 - 158400, 158400),
    'keras_densenet201': (20242984 - 229056, 229056),
    'keras_resnet50': (25636712 - 53120, 53120),
    'keras_resnet50_elu': (25636712 - 53120, 53120),
    'd2l_densenet': (758226, 6608),
}


def test_every_row_is_a_preset():
    assert set(COUNTS) <= set(network)


@pytest.mark.parametrize('preset', network)
def test_sizes(preset):
    cfg = resolve(preset)
    height, width, channels = cfg.image_shape
    symbol = get_symbol(cfg)
    arguments, _, states = symbol.infer_shape(data=(1, channels, height, width))
    parameters = sum(map(prod, arguments)) - channels * height * width
    assert (parameters, sum(map(prod, states))) == expected(COUNTS, preset)
