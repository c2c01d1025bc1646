"""The tables that `generate_config` and `resolve` pick from: backbone families with their presets, data sets, losses.

A new backbone is one file in `symbols/` and one row of FAMILIES here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Tuple


@dataclass(frozen=True)
class Family:
    """A backbone family: InsightFace's module name for it, the values it takes, and its presets.

    `takes` lists the allowed values of keys that mean something to this family alone; `presets` maps a preset's
    name to what it sets on top of the defaults.
    """

    alias: str
    takes: Mapping[str, Tuple[Any, ...]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


FAMILIES = {
    'resnet': Family(
        alias='fresnet',
        takes={
            'num_layers': (18, 34, 50, 100),
            'net_unit': (3,),
            'net_input': (1,),
            'net_se': (False,),
            'fp16': (False,),
        },
        presets={
            'r18': {'num_layers': 18},
            'r34': {'num_layers': 34},
            'r50': {'num_layers': 50},
            'r100': {'num_layers': 100},
            'r100fc': {'num_layers': 100, 'net_output': 'FC'},
        },
    ),
    'densenet': Family(
        alias='fdensenet',
        takes={'num_layers': (121, 161, 169, 201), 'net_se': (False,), 'fp16': (False,)},
        presets={
            'd121': {'num_layers': 121, 'per_batch_size': 64},
            'd161': {'num_layers': 161, 'per_batch_size': 64},
            'd169': {'num_layers': 169, 'per_batch_size': 64},
            'd201': {'num_layers': 201, 'per_batch_size': 64},
        },
    ),
    'xception': Family(
        alias='fxception',
        takes={'num_layers': (None,), 'net_se': (False,), 'fp16': (False,)},
        presets={'xception': {'net_act': 'relu'}},
    ),
}

# InsightFace's names that have no row in these tables, by key; a name that gets its row leaves this one.
NOT_BUILT = {
    'net_name': (
        'fdpn',
        'finception_resnet_v2',
        'fmnasnet',
        'fmobilefacenet',
        'fmobilenet',
        'fmobilenetv2',
        'fnasnet',
        'spherenet',
        'vargfacenet',
    ),
    'network': ('m05', 'm1', 'mnas', 'mnas025', 'mnas05', 'r50v1', 'vargfacenet', 'y1', 'y2'),
    'loss': ('atriplet', 'triplet'),
}

# Long name -> InsightFace's letters. The heads themselves stand in symbols/heads.py.
HEADS = {
    'bn_dropout_fc_bn': ('E',),
    'bn_fc_bn': ('FC', 'I'),
    'bn_dropout_fc': ('F',),
    'bn_fc': ('G',),
    'fc': ('H',),
    'fc_bn': ('J',),
    'bn_dropout': ('Z',),
    'gap_fc_bn': ('GAP',),
    'gdc_fc_bn': ('GDC',),
    'sepconv_fc_bn': ('SFC',),
    'gnap': ('GNAP',),
    'classifier': (),
}

# The activations themselves stand in symbols/layers.py.
ACTIVATIONS = ('relu', 'prelu', 'prelu_channel', 'elu', 'leaky', 'selu', 'gelu', 'swish')

NETWORKS = {
    name: {'net_name': family.alias, **settings}
    for family in FAMILIES.values()
    for name, settings in family.presets.items()
}

DATASETS = {
    'emore': {
        'dataset_path': '../datasets/faces_emore',
        'num_classes': 85742,
        'image_shape': (112, 112, 3),
        'val_targets': ('lfw', 'cfp_fp', 'agedb_30'),
    },
    'retina': {
        'dataset_path': '../datasets/ms1m-retinaface-t1',
        'num_classes': 93431,
        'image_shape': (112, 112, 3),
        'val_targets': ('lfw', 'cfp_fp', 'agedb_30'),
    },
    # The ORL faces (AT&T Laboratories Cambridge) as recognition.orl writes them: 30 people, and pairs of 10 others.
    'orl': {
        'dataset_path': './datasets/orl',
        'num_classes': 30,
        'image_shape': (112, 112, 3),
        'val_targets': ('orl',),
    },
    # Any folder with train.rec, train.idx and property; the number of identities is read from `property`.
    'folder': {
        'dataset_path': './datasets',
        'num_classes': 0,
        'image_shape': (112, 112, 3),
        'val_targets': (),
    },
}


def _margin(m1: float, m2: float, m3: float) -> dict:
    """cos(m1 * theta + m2) - m3 at scale 64: the one margin softmax that InsightFace's presets differ in."""
    return {'loss_name': 'margin_softmax', 'loss_s': 64.0, 'loss_m1': m1, 'loss_m2': m2, 'loss_m3': m3}


LOSSES = {
    'softmax': {'loss_name': 'softmax'},
    'nsoftmax': _margin(1.0, 0.0, 0.0),
    'arcface': _margin(1.0, 0.5, 0.0),
    'cosface': _margin(1.0, 0.0, 0.35),
    'combined': _margin(1.0, 0.3, 0.2),
}
