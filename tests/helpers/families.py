"""A narrow network of every family, and what tests of whole networks share."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest

from symbols import list_backbones, list_heads
from tests.helpers import narrow

# What the project has itself. A test that has no expectation of one of these fails; what a user has added is skipped.
OWN = re.findall(
    r'\w+',
    """
    article_xception bn_dropout bn_dropout_fc bn_dropout_fc_bn bn_fc bn_fc_bn classifier d121 d161 d169 d201
    d2l_densenet elu fc fc_bn gap_fc_bn gdc_fc_bn gelu gnap keras_densenet121 keras_densenet169 keras_densenet201
    keras_resnet50 keras_resnet50_elu keras_xception leaky m05 m1 map mbf mbf_large mnas mnas025 mnas05 pool prelu
    prelu_channel r100 r100fc r18 r200 r34 r50 r50v1 relu selu sepconv_fc_bn sigmoid softrelu softsign swish tanh
    vargfacenet xception y1 y2
    """,
)


MAPS = ('bn_dropout', 'map')  # heads that give a feature map


def small(family, **overrides):
    """Return the config of a narrow network of a family, whose statistics become those of one batch."""
    return narrow.small(narrow.SMALLEST[family], **overrides)


def data_shape(cfg, count=1):
    height, width, channels = cfg.image_shape
    return (count, channels, height, width)


def expected(table, name):
    """Return what a table of a test expects of a preset, head or activation; skip for a user's that has no row."""
    if name not in table and name not in OWN:
        pytest.skip(f'this file expects nothing of {name} yet')
    return table[name]


def node_names(symbol):
    return [node['name'] for node in json.loads(symbol.tojson())['nodes']]


def assert_output(symbol, cfg):
    """Check the output's name and shape for a batch of 3."""
    _, (shape,), _ = symbol.infer_shape(data=data_shape(cfg, 3))
    (name,) = symbol.list_outputs()
    if cfg.net_output in MAPS:
        assert name == 'dropout0_output' or cfg.net_output == 'map'
        assert len(shape) == 4
        assert shape[0] == 3
    elif cfg.net_output == 'pool':
        assert (name, len(shape), shape[0]) == ('fc1_output', 2, 3)
    else:
        width = cfg.num_classes if cfg.net_output == 'classifier' else cfg.emb_size
        assert (name, shape) == ('fc1_output', (3, width))


def in_turn(ones, others, count=1, also=()):
    """Yield every pair of two lists; slow are all but those of the first one, and `count` for each other one.

    What comes after the first takes the others in turn, so that all come up again, and those of `also` besides.
    """
    for number, one in enumerate(ones):
        quick = {others[(count * number + each) % len(others)] for each in range(count)} | {*also}
        for other in others:
            yield pytest.param(one, other, marks=[] if number == 0 or other in quick else pytest.mark.slow)


def families_and_heads(telling):
    """Yield every family with every head; all but the first family are quick with one of the `telling` heads each."""
    for number, (family, head) in enumerate(product(list_backbones(), list_heads())):
        turn = telling[number // len(list_heads()) % len(telling)]
        fast = family == list_backbones()[0] or head == turn
        yield pytest.param(family, head, marks=[] if fast else pytest.mark.slow)


def spared_from_decay(symbol):
    """Return the parameters that weight decay leaves alone."""
    attributes = symbol.attr_dict()
    parameters = set(symbol.list_arguments()) - {'data'}
    return {name for name in parameters if float(attributes[name]['__wd_mult__']) == 0}
