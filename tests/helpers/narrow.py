"""Networks of the families here, as narrow as they may be, and their checkpoints."""

from __future__ import annotations

import json

from config import resolve
from config.presets import FAMILIES
from recognition.checkpoint.network import arrays_of, save_network
from recognition.checkpoint.run_files import write_json
from recognition.utils.run_paths import config_path, params_path, symbol_path

import mxnet as mx

SMALLEST = {name: next(iter(family.presets)) for name, family in FAMILIES.items()}
ODD, LARGER = (
    (41, 52),
    (73, 90),
)  # neither even nor square; what halves five times, rounding down, needs the second
LARGER_FAMILIES = ('keras_densenet', 'plain_densenet')
SMALL_SHAPE = (32, 32, 3)
MULTIPLIERS = {'vargfacenet': 0.25}
LIKE_OTHERS = ('mnasnet', 'mobilenet', 'keras_resnet', 'vargfacenet')  # in what they are made of
SLOW_TO_BUILD = ('densenet', 'keras_densenet')


def small(preset, **settings):
    """Return the config of a preset as narrow as it may be, whose statistics become those of one batch."""
    name = resolve(preset).net_name
    family = next(key for key, row in FAMILIES.items() if name in (key, row.alias))
    sides = LARGER if family in LARGER_FAMILIES else ODD
    given = {'emb_size': 24, 'num_classes': 7, 'image_shape': (*sides, 3), 'bn_mom': 0}
    return resolve(preset, **{**given, 'net_multiplier': MULTIPLIERS.get(family, 0.125), **settings})


def write_network(net, prefix):
    """Write a network as a checkpoint of epoch 1, and return its prefix."""
    symbol = net(mx.sym.var('data'))
    save_network(prefix, 1, symbol, *arrays_of(net, symbol))
    return prefix


def save_configured(save, cfg, prefix):
    """Write a checkpoint of epoch 1 by the fixture `save`, and its config; return its prefix."""
    save(cfg, prefix)
    write_json(config_path(prefix), cfg)
    return prefix


def files_of(prefix, epoch=1):
    """Return what a checkpoint's files hold; of a symbol's inputs without how often their values were changed."""
    nodes = json.loads(symbol_path(prefix).read_text())['nodes']
    symbol = [{**node, 'inputs': [entry[:2] for entry in node['inputs']]} for node in nodes]
    return {
        'config': json.loads(config_path(prefix).read_text()),
        'params': params_path(prefix, epoch).read_bytes(),
        'symbol': symbol,
    }
