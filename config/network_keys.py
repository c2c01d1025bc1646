"""The keys of the config that a network is built from, and what a key is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Tuple

from config.presets import ACTIVATIONS, FAMILIES, HEADS
from config.rules import (
    Rule,
    choice,
    flag,
    integer,
    one_or_three,
    optional,
    or_word,
    patterns,
    real,
    sequence,
)


@dataclass(frozen=True)
class Key:
    """One key of the config; `group` says what it belongs to (network, data, loss, train or accepted)."""

    default: Any
    rule: Rule
    help: str
    group: str


def group(name: str, /, **rows: Tuple[Any, Rule, str]) -> Dict[str, Key]:
    """Return the keys of a group: each with its default, what it may be, and its help."""
    return {key: Key(default, rule, help_, name) for key, (default, rule, help_) in rows.items()}


FAMILY_NAMES = {name: name for name in FAMILIES}
FAMILY_NAMES.update({family.alias: name for name, family in FAMILIES.items() if family.alias})
HEAD_NAMES = {name: name for name in HEADS}
HEAD_NAMES.update({letter: name for name, letters in HEADS.items() for letter in letters})

NETWORK = group(
    'network',
    net_name=('fresnet', choice(tuple(FAMILY_NAMES)), 'backbone family'),
    num_layers=(None, optional(integer(1)), 'depth, as the family counts it'),
    net_unit=(3, integer(1, 4), 'residual unit of the ResNets'),
    net_input=(
        1,
        integer(0, 2),
        'stem: 0 7x7 stride 2, 1 3x3 stride 1, 2 3x3 with a batch norm on the input',
    ),
    net_variant=(
        None,
        optional(choice(('article', 'arcface_torch'))),
        "None: the family's own network; article: Keras's as built layer by layer in articles; arcface_torch: its "
        'MobileFaceNet',
    ),
    net_act=('prelu', choice(ACTIVATIONS), 'activation'),
    net_output=(
        'E',
        choice(tuple(HEAD_NAMES)),
        'embedding head, by its long name or by the InsightFace letter',
    ),
    net_pool=(
        'avg',
        choice(('avg', 'max')),
        'what the heads take that pool the whole map: average or maximum',
    ),
    net_se=(False, flag(), 'squeeze-and-excite in each residual unit'),
    net_blocks=((1, 4, 6, 2), sequence(integer(0, 1000)), 'units per stage of MobileFaceNet'),
    net_multiplier=(1.0, real(0.01, 8.0), 'factor on all widths of the backbone'),
    emb_size=(512, integer(1, 2**24), 'width of the embedding'),
    bn_mom=(0.9, real(0.0, 1.0), 'momentum of the moving statistics'),
    densenet_blocks=(
        None,
        optional(sequence(integer(1, 1000), filled=True)),
        "layers of each dense block; None: the network's own",
    ),
    densenet_growth=(
        None,
        optional(integer(1, 65536)),
        "channels that each dense layer adds; None: the network's own",
    ),
    densenet_init=(
        None,
        optional(integer(1, 65536)),
        "channels of a DenseNet's stem; None: the network's own",
    ),
    densenet_bottleneck=(
        None,
        optional(integer(1, 1024)),
        "width of a dense layer's 1x1, in densenet_growth; None: 4",
    ),
    densenet_dropout=(0.0, real(0.0, 0.99), 'dropout rate after each dense layer'),
    bn_eps=(
        None,
        optional(real(1e-12, 1.0)),
        "eps of every batch norm; None: InsightFace's own, which differ by family and head",
    ),
    input_order=(
        'rgb',
        choice(('rgb', 'bgr')),
        'order of the channels in front of the first layer; images are given as RGB either way',
    ),
    input_mean=(
        127.5,
        one_or_three(real(0.0, 255.0)),
        'subtracted from every pixel inside the network; three numbers: by channel, in input_order',
    ),
    input_scale=(
        0.0078125,
        one_or_three(real(0.00001, 1000.0)),
        'factor on every pixel after that; three numbers: by channel, in input_order',
    ),
    resnet_kernel=(3, integer(1, 7), "kernel in the middle of keras_resnet's units, an odd number"),
    padding=(
        'symmetric',
        choice(('symmetric', 'tf_same')),
        "side of the odd pixel of padding at stride 2; tf_same: TensorFlow's, after, for image_shape alone",
    ),
    head_channels=(
        None,
        or_word('insightface', optional(integer(1, 65536))),
        'groups and filters of the convolution in the heads GDC and SFC; None: depthwise; insightface: 512 as there '
        "(and in m1) where that divides the map's channels, else depthwise",
    ),
    kernel_l2=(
        None,
        optional(real(0.0, 1.0)),
        "L2 factor of the convolutions' weights in place of wd, as Keras's kernel_regularizer on Conv2D",
    ),
    kernel_l2_factors=(
        (),
        patterns(real(0.0)),
        'L2 factors of the kernels, dense ones too, whose names begin so: REGEX=0.001; the first that fits counts',
    ),
    image_shape=((112, 112, 3), sequence(integer(1, 65535), 3), 'height, width and channels of the input'),
    fp16=(False, flag(), 'half precision between the stem and the last stage, on a GPU'),
)

# What no InsightFace config holds.
OWN_KEYS = (
    *('net_variant', 'net_pool', 'bn_eps', 'input_order', 'input_mean', 'input_scale', 'padding'),
    *('kernel_l2', 'kernel_l2_factors'),
    *('resnet_kernel', 'densenet_blocks', 'densenet_growth', 'densenet_init', 'densenet_bottleneck'),
)
