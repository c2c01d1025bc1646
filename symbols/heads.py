"""The heads: what turns the last feature map into an embedding, with the output `fc1` (but for those of maps).

Each head reads its width and spatial size from the feature map, so every backbone takes every head. The long names
rule; InsightFace's letters (config/presets.py) are aliases. Batch norms have eps 2e-5, the last one (`fc1`) a fixed
gamma, `pre_fc1` a bias.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Union

from config.errors import ConfigError
from config.presets import HEADS as HEAD_NAMES
from symbols.activations import Act
from symbols.layers import BatchNorm, Conv, Dense, Norm, Operator, Size
from symbols.registry import Registry

import mxnet as mx
from mxnet.gluon import HybridBlock, nn

DROPOUT = 0.4
GDC_EPS = 1e-3
GNAP_WIDTH = 512
INSIGHTFACES_GROUPS = 512
HEADS = Registry('net_output', HEAD_NAMES, name='HEADS')


class FeatureMap(NamedTuple):
    """The shape of a backbone's last feature map, without the batch."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """Values in one map."""
        return self.channels * self.height * self.width


class HeadSpec(NamedTuple):
    """What a head is built for: the feature map it reads, its width, and the network's settings."""

    features: FeatureMap
    emb_size: int
    num_classes: int
    norm: Norm
    act: Act
    head_channels: Union[int, str, None] = None
    pool: str = 'avg'


def _fc_bn(spec: HeadSpec, inputs: int) -> list:
    return [
        Dense('pre_fc1', inputs, spec.emb_size),
        BatchNorm('fc1', spec.emb_size, spec.norm, fix_gamma=True),
    ]


def _bn1(spec: HeadSpec) -> HybridBlock:
    return BatchNorm('bn1', spec.features.channels, spec.norm)


def _dropout() -> HybridBlock:
    return Operator('dropout0', 'Dropout', p=DROPOUT)


def _pool(pool_type: str, name: str = 'pool1') -> HybridBlock:
    # The kernel is not read where global_pool is set, but mxnet's shape inference demands one.
    return Operator(name, 'Pooling', global_pool=True, kernel=(7, 7), pool_type=pool_type)


class Head(nn.HybridSequential):
    """Layers one after another, (N, C, H, W) to (N, emb_size)."""

    def __init__(self, *layers: HybridBlock) -> None:
        super().__init__(prefix='')
        self.add(*layers)


@HEADS.register('bn_dropout_fc_bn')
def bn_dropout_fc_bn(spec: HeadSpec) -> HybridBlock:
    """InsightFace's E: batch norm, dropout, fully connected, batch norm."""
    return Head(_bn1(spec), _dropout(), *_fc_bn(spec, spec.features.size))


@HEADS.register('bn_fc_bn')
def bn_fc_bn(spec: HeadSpec) -> HybridBlock:
    """InsightFace's FC and I: E without the dropout."""
    return Head(_bn1(spec), *_fc_bn(spec, spec.features.size))


@HEADS.register('bn_dropout_fc')
def bn_dropout_fc(spec: HeadSpec) -> HybridBlock:
    """InsightFace's F: E without the last batch norm."""
    return Head(_bn1(spec), _dropout(), Dense('fc1', spec.features.size, spec.emb_size))


@HEADS.register('bn_fc')
def bn_fc(spec: HeadSpec) -> HybridBlock:
    """InsightFace's G: batch norm, fully connected."""
    return Head(_bn1(spec), Dense('fc1', spec.features.size, spec.emb_size))


@HEADS.register('fc')
def fc(spec: HeadSpec) -> HybridBlock:
    """InsightFace's H: fully connected alone."""
    return Head(Dense('fc1', spec.features.size, spec.emb_size))


@HEADS.register('fc_bn')
def fc_bn(spec: HeadSpec) -> HybridBlock:
    """InsightFace's J: fully connected, batch norm."""
    return Head(*_fc_bn(spec, spec.features.size))


@HEADS.register('bn_dropout')
def bn_dropout(spec: HeadSpec) -> HybridBlock:
    """InsightFace's Z: batch norm, dropout. A feature map, not an embedding: its output is `dropout0`, not `fc1`."""
    return Head(_bn1(spec), _dropout())


@HEADS.register('gap_fc_bn')
def gap_fc_bn(spec: HeadSpec) -> HybridBlock:
    """InsightFace's GAP: batch norm, activation, global average (net_pool), fully connected, batch norm."""
    channels = spec.features.channels
    return Head(_bn1(spec), spec.act('relu1', channels), _pool(spec.pool), *_fc_bn(spec, channels))


def _groups(spec: HeadSpec) -> int:
    """Return the groups, and filters, of GDC's and SFC's convolution: the map's channels, or head_channels."""
    channels, wanted = spec.features.channels, spec.head_channels
    if wanted == 'insightface':
        return channels if channels % INSIGHTFACES_GROUPS else INSIGHTFACES_GROUPS
    width = int(wanted or channels)
    if channels % width:
        raise ConfigError(
            f'head_channels={width} must divide the {channels} channels of the map; head_channels=None is depthwise '
            'on every map'
        )
    return width


def _grouped(name: str, spec: HeadSpec, kernel: Size, **settings: Any) -> HybridBlock:
    """Return GDC's or SFC's convolution."""
    channels, width = spec.features.channels, _groups(spec)
    return Conv(name, channels, width, kernel, groups=width, **settings)


@HEADS.register('gdc_fc_bn')
def gdc_fc_bn(spec: HeadSpec) -> HybridBlock:
    """InsightFace's GDC: a depthwise convolution over the whole map (Chen et al. 2018, MobileFaceNets), then J.

    InsightFace has 512 groups and 512 filters whatever the map's width, so on 1024 channels it is not depthwise.
    head_channels='insightface', which the preset m1 has, is InsightFace's; without it each map's is depthwise.
    """
    size = (spec.features.height, spec.features.width)
    width = _groups(spec)
    conv = _grouped('conv_6dw7_7_conv2d', spec, size, pad=0)
    norm = BatchNorm('conv_6dw7_7_batchnorm', width, spec.norm.with_eps(GDC_EPS))
    return Head(conv, norm, *_fc_bn(spec, width))


@HEADS.register('sepconv_fc_bn')
def sepconv_fc_bn(spec: HeadSpec) -> HybridBlock:
    """InsightFace's SFC: a separable convolution that halves the map, then J; head_channels as in GDC."""
    _, height, width = spec.features
    narrow = _groups(spec)
    halved = narrow * ((height + 1) // 2) * ((width + 1) // 2)
    return Head(
        _bn1(spec),
        _grouped('convf', spec, 3, stride=2),
        BatchNorm('bnf', narrow, spec.norm),
        spec.act('reluf', narrow),
        Conv('convf2', narrow, narrow, 1, bias=True),
        BatchNorm('bnf2', narrow, spec.norm),
        spec.act('reluf2', narrow),
        *_fc_bn(spec, halved),
    )


class NormAwareScale(HybridBlock):
    """Scale each position of a feature map to the mean norm of all positions, of the whole batch (as InsightFace).

    (N, C, H, W) to the same shape; x * mean(norm) / norm, where norm is over the channels.
    """

    def __init__(self) -> None:
        super().__init__(prefix='')

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Scale."""
        squared = F.elemwise_mul(x, x, name='gnap_squared')
        norm = F.sqrt(F.sum(squared, axis=1, keepdims=True, name='gnap_sum'), name='gnap_norm')
        # keepdims, since print_summary fails on a scalar between two nodes
        mean = F.mean(norm, axis=(0, 1, 2, 3), keepdims=True, name='gnap_mean')
        return F.broadcast_mul(x, F.broadcast_div(mean, norm, name='gnap_ratio'), name='gnap_scaled')


@HEADS.register('gnap')
def gnap(spec: HeadSpec) -> HybridBlock:
    """InsightFace's GNAP: global norm-aware pooling (Chen et al. 2018).

    A 1x1 convolution comes first where the embedding is wider than the map or, as in InsightFace, than 512; a fully
    connected layer last where it is narrower than what is pooled. As in InsightFace the scale is a mean over the batch,
    so an embedding depends a little on its batch.
    """
    channels = spec.features.channels
    layers = []
    if spec.emb_size > min(channels, GNAP_WIDTH):
        layers += [
            Conv('convx', channels, spec.emb_size, 1),
            BatchNorm('convx_bn', spec.emb_size, spec.norm),
            spec.act('convx_relu', spec.emb_size),
        ]
        channels = spec.emb_size
    layers += [
        BatchNorm('bn6f', channels, spec.norm, fix_gamma=True),
        NormAwareScale(),
        _pool('avg', 'gnap_pool'),
    ]
    if spec.emb_size < channels:
        layers += [BatchNorm('bn6w', channels, spec.norm, fix_gamma=True), *_fc_bn(spec, channels)]
    else:
        layers += [
            Operator('gnap_flatten', 'Flatten'),
            BatchNorm('fc1', channels, spec.norm, fix_gamma=True),
        ]
    return Head(*layers)


@HEADS.register('classifier')
def classifier(spec: HeadSpec) -> HybridBlock:
    """Global average (net_pool) and a fully connected layer to num_classes logits: the ImageNet networks' head.

    Its first weights are Glorot's, as Keras has them, by both sides: by the outputs alone, which is the rule for the
    other layers, the logits of few classes would begin at tens, and the loss with them.
    """
    return Head(_pool(spec.pool), Dense('fc1', spec.features.channels, spec.num_classes, mx.init.Xavier()))


@HEADS.register('pool')
def pool(spec: HeadSpec) -> HybridBlock:
    """Global average (net_pool) alone, (N, C) whatever emb_size is: Keras's include_top=False with a pooling."""
    return Head(_pool(spec.pool), Operator('fc1', 'Flatten'))


@HEADS.register('map')
def feature_map(spec: HeadSpec) -> HybridBlock:
    """Nothing: the output is the backbone's last feature map, as of Keras's include_top=False, and not `fc1`."""
    return Head()
