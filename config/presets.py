"""The tables that `generate_config` and `resolve` pick from: backbone families with their presets, data sets, losses.

A new backbone is one file, `symbols/<name>.py`, and one row of FAMILIES here; so is a head, with a row of HEADS, and an
activation, with a row of ACTIVATIONS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple


@dataclass(frozen=True)
class Family:
    """A backbone family: InsightFace's module name for it, the values it takes, and its presets.

    `takes` lists the allowed values of keys that not every family takes whole, beside those of TAKEN_BY_ALL;
    `reads` names those of READ_BY_SOME that it reads: setting another one is an error, but an InsightFace config that
    holds one passes, as it does there. `ignored_there` names keys that it reads and InsightFace's network does not, so
    that an InsightFace config may hold what an earlier network has left in them.
    `presets` maps a preset's name to what it sets on top of the defaults.
    """

    alias: Optional[str] = None
    takes: Mapping[str, Tuple[Any, ...]] = field(default_factory=dict)
    reads: Tuple[str, ...] = ()
    ignored_there: Tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


# Keys of the network that not every family reads.
DENSENET_WIDTHS = ('densenet_blocks', 'densenet_growth', 'densenet_init')
READ_BY_SOME = (
    *('num_layers', 'net_unit', 'net_input', 'net_se', 'net_blocks', 'densenet_dropout', 'fp16'),
    *(*DENSENET_WIDTHS, 'densenet_bottleneck'),
)

# Residual units in each stage by depth (InsightFace's; some of its depths are not He et al.'s).
RESNET_UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    49: (3, 4, 14, 3),
    50: (3, 4, 14, 3),
    74: (3, 6, 24, 3),
    90: (3, 8, 30, 3),
    98: (3, 4, 38, 3),
    99: (3, 8, 35, 3),
    100: (3, 13, 30, 3),
    101: (3, 4, 23, 3),
    124: (3, 13, 40, 5),
    134: (3, 10, 50, 3),
    136: (3, 13, 48, 3),
    140: (3, 15, 48, 3),
    152: (3, 8, 36, 3),
    160: (3, 24, 49, 3),
    198: (6, 26, 60, 6),  # arcface_torch's iresnet200, by its layers; in MXNet 200 is another network
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
RESNET_BOTTLENECK = 500  # what is added to a depth for bottleneck units (InsightFace: num_layers >= 500)

# Keras's own networks take what its preprocess_input returns, and are trained on ImageNet.
KERAS = {
    'input_mean': 0.0,
    'input_scale': 1.0,
    'net_act': 'relu',
    'net_output': 'classifier',
    'num_classes': 1000,
    'image_shape': (224, 224, 3),
}

# The paper's stem halves the image, and TensorFlow's padding is what Keras's weights were trained with.
XCEPTION = {'net_input': 0, 'padding': 'tf_same', 'image_shape': (299, 299, 3)}

# MobileFaceNet as arcface_torch has it, with the numbers of its weights.
ARCFACE_MBF = {
    'net_output': 'GDC',
    'net_variant': 'arcface_torch',
    'bn_eps': 1e-5,
    'input_scale': 1 / 127.5,
}

# What a family takes of these keys where its row does not say otherwise.
TAKEN_BY_ALL = {'net_variant': (None,), 'padding': ('symmetric',), 'resnet_kernel': (3,)}

FAMILIES = {
    'resnet': Family(
        alias='fresnet',
        reads=('num_layers', 'net_unit', 'net_input', 'net_se', 'fp16'),
        ignored_there=('net_multiplier',),
        takes={
            'num_layers': (*RESNET_UNITS, *(RESNET_BOTTLENECK + depth for depth in RESNET_UNITS)),
        },
        presets={
            'r18': {'num_layers': 18},
            'r34': {'num_layers': 34},
            'r50': {'num_layers': 50},
            'r50v1': {'num_layers': 50, 'net_unit': 1},
            'r100': {'num_layers': 100},
            'r100fc': {'num_layers': 100, 'net_output': 'FC'},
            'r200': {'num_layers': 200},
        },
    ),
    'densenet': Family(
        alias='fdensenet',
        reads=('num_layers', 'densenet_dropout', *DENSENET_WIDTHS, 'densenet_bottleneck'),
        ignored_there=('net_multiplier',),
        takes={'num_layers': (121, 161, 169, 201)},
        presets={
            'd121': {'num_layers': 121, 'per_batch_size': 64},
            'd161': {'num_layers': 161, 'per_batch_size': 64},
            'd169': {'num_layers': 169, 'per_batch_size': 64},
            'd201': {'num_layers': 201, 'per_batch_size': 64},
        },
    ),
    'xception': Family(
        alias='fxception',
        reads=('net_input',),
        takes={
            'net_input': (0, 1),
            'net_variant': (None, 'article'),
            'padding': ('symmetric', 'tf_same'),
        },
        presets={
            'xception': {'net_act': 'relu'},
            'keras_xception': {**KERAS, **XCEPTION},
            'article_xception': {**KERAS, **XCEPTION, 'net_variant': 'article'},
        },
    ),
    'mobilefacenet': Family(
        alias='fmobilefacenet',
        reads=('net_blocks',),
        takes={'net_variant': (None, 'arcface_torch')},
        ignored_there=('net_multiplier',),
        presets={
            'y1': {'emb_size': 128, 'net_output': 'GDC'},
            'y2': {'emb_size': 256, 'net_output': 'GDC', 'net_blocks': (2, 8, 16, 4)},
            'mbf': {**ARCFACE_MBF, 'net_multiplier': 2.0},
            'mbf_large': {**ARCFACE_MBF, 'net_multiplier': 4.0, 'net_blocks': (2, 8, 12, 4)},
        },
    ),
    'mobilenet': Family(
        alias='fmobilenet',
        reads=('net_input',),
        presets={
            'm1': {'emb_size': 256, 'net_output': 'GDC', 'head_channels': 'insightface'},
            'm05': {'emb_size': 256, 'net_output': 'GDC', 'net_multiplier': 0.5},
        },
    ),
    'mnasnet': Family(
        alias='fmnasnet',
        presets={
            'mnas': {'emb_size': 256, 'net_output': 'GDC'},
            'mnas05': {'emb_size': 256, 'net_output': 'GDC', 'net_multiplier': 0.5},
            'mnas025': {'emb_size': 256, 'net_output': 'GDC', 'net_multiplier': 0.25},
        },
    ),
    'vargfacenet': Family(
        reads=('net_se',),
        presets={'vargfacenet': {'net_multiplier': 1.25, 'net_output': 'J'}},
    ),
    'keras_densenet': Family(
        reads=('num_layers', 'densenet_dropout', *DENSENET_WIDTHS, 'densenet_bottleneck'),
        takes={'num_layers': (121, 169, 201)},
        presets={
            'keras_densenet121': {**KERAS, 'num_layers': 121},
            'keras_densenet169': {**KERAS, 'num_layers': 169},
            'keras_densenet201': {**KERAS, 'num_layers': 201},
        },
    ),
    'keras_resnet': Family(
        reads=('num_layers',),
        takes={
            'num_layers': (50, 101, 152),
            'net_variant': (None, 'article'),
            'resnet_kernel': (1, 3, 5, 7),
        },
        presets={
            'keras_resnet50': {**KERAS, 'num_layers': 50},
            'keras_resnet50_elu': {**KERAS, 'num_layers': 50, 'net_variant': 'article', 'net_act': 'elu'},
        },
    ),
    'plain_densenet': Family(
        reads=('densenet_dropout', *DENSENET_WIDTHS),
        presets={
            'd2l_densenet': {**KERAS, 'net_pool': 'max', 'num_classes': 10, 'image_shape': (96, 96, 1)},
        },
    ),
}

# InsightFace's names that have no row in these tables, by key; a name that gets its row leaves this one.
NOT_BUILT = {
    'net_name': ('fdpn', 'finception_resnet_v2', 'fmobilenetv2', 'fnasnet', 'fresnext', 'spherenet'),
}

# What other projects call networks, and our presets for them; each is a hint in an error.
SYNONYMS = {
    **{f'iresnet{depth}': f'r{depth}' for depth in (18, 34, 50, 100, 200)},
    **{f'densenet{depth}': f'd{depth}' for depth in (121, 161, 169, 201)},
    'resnet50': 'r50',
    'mobilefacenet': 'y1',
}

# Long name -> InsightFace's letters. The heads themselves stand in symbols/heads.py, or each in symbols/<name>.py.
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
    'pool': (),
    'map': (),
}
POOLING_HEADS = ('gap_fc_bn', 'classifier', 'pool')  # those that read net_pool

# The activations themselves stand in symbols/activations.py, or each in symbols/<name>.py.
ACTIVATIONS = (
    *('relu', 'prelu', 'prelu_channel', 'elu', 'leaky', 'selu', 'gelu', 'swish'),
    *('sigmoid', 'tanh', 'softrelu', 'softsign'),  # mxnet's, which InsightFace passes on to it
)

NETWORKS = {
    name: {'net_name': family.alias or family_name, **settings}
    for family_name, family in FAMILIES.items()
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
    # The ORL faces (AT&T Laboratories Cambridge) as recognition.data.orl writes them: 30 people, pairs of 10 others.
    'orl': {
        'dataset_path': './datasets/orl',
        'num_classes': 30,
        'image_shape': (112, 112, 3),
        'val_targets': ('orl',),
    },
    # Any folder with train.rec, train.idx and property; the number of identities is read from `property`.
    'folder': {'dataset_path': './datasets', 'num_classes': 0, 'val_targets': ()},
    # Such a folder with test.rec, as `facesymbols pack --test` makes it; digits and letters are not mirrored.
    'images': {
        'dataset_path': './datasets',
        'num_classes': 0,
        'val_targets': ('test',),
        'data_rand_mirror': False,
        'verify_epochs': 1,
    },
}


def _margin(m1: float, m2: float, m3: float) -> dict:
    """cos(m1 * theta + m2) - m3 at scale 64: the one margin softmax that InsightFace's presets differ in."""
    return {'loss_name': 'margin_softmax', 'loss_s': 64.0, 'loss_m1': m1, 'loss_m2': m2, 'loss_m3': m3}


# A batch is the bag in which triplets are mined, so it holds several images of an identity.
TRIPLETS = {'data_sampler': 'balanced', 'images_per_identity': 5, 'per_batch_size': 60, 'lr': 0.05}

LOSSES = {
    'softmax': {'loss_name': 'softmax'},
    'nsoftmax': _margin(1.0, 0.0, 0.0),
    'arcface': _margin(1.0, 0.5, 0.0),
    'cosface': _margin(1.0, 0.0, 0.35),
    'combined': _margin(1.0, 0.3, 0.2),
    'sphereface': _margin(1.35, 0.0, 0.0),
    'subcenter_arcface': {**_margin(1.0, 0.5, 0.0), 'loss_centres': 3},
    'curricularface': {'loss_name': 'curricularface', 'loss_s': 64.0, 'loss_m2': 0.5},
    'adaface': {'loss_name': 'adaface', 'loss_s': 64.0},
    'magface': {'loss_name': 'magface', 'loss_s': 64.0},
    'triplet': {'loss_name': 'triplet', **TRIPLETS},
    'atriplet': {'loss_name': 'atriplet', 'triplet_alpha': 0.35, **TRIPLETS},
    'classes': {'loss_name': 'cross_entropy', 'net_output': 'classifier'},
}
