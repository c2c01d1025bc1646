"""DenseNet for faces: InsightFace's `fdensenet` (Huang et al. 2017, 'Densely Connected Convolutional Networks', BC).

Names, shapes and outputs equal InsightFace's; the body keeps the names Gluon gave it (`densenet0_stage1_conv0_weight`).
As there, the stem's and the last activation are ReLU whatever net_act says, and a PReLU has one slope per layer
('prelu_channel' gives it one per channel).
"""

from __future__ import annotations

from typing import Any, List, Mapping

from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.blocks import gluon_act
from symbols.dense import DEPTHS, Append, DenseSpec
from symbols.layers import GLUON_NORM, BatchNorm, Conv, Norm, Operator
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

NODE = '{}_fwd'  # what Gluon calls a layer's node
SPECS = DEPTHS


def dense_layer(
    index: int, in_channels: int, spec: DenseSpec, *, dropout: float, norm: Norm, act: Act
) -> HybridBlock:
    """Return batch norm, activation, 1x1 and batch norm, activation, 3x3; (N, C, H, W) to (N, C + growth, H, W).

    `index` counts the dense layers of a stage from 0.
    """
    growth, narrow = spec.growth, spec.bottleneck * spec.growth
    first, second = 2 * index, 2 * index + 1
    branch = nn.HybridSequential(prefix='')
    branch.add(*_norm_act_conv(first, first, in_channels, narrow, 1, norm, act))
    branch.add(*_norm_act_conv(second, second, narrow, growth, 3, norm, act))
    if dropout:
        branch.add(Operator(f'dropout{index}_fwd', 'Dropout', p=dropout))
    return Append(f'concat{index}', branch, in_channels, growth)


def _norm_act_conv(
    index: int, act_index: int, in_channels: int, channels: int, kernel: int, norm: Norm, act: Act
) -> List[HybridBlock]:
    return [
        BatchNorm(f'batchnorm{index}', in_channels, norm),
        gluon_act(act, act_index, in_channels),
        Conv(f'conv{index}', in_channels, channels, kernel, node=NODE),
    ]


@BACKBONES.register('densenet')
class DenseNet(HybridBlock):
    """Map faces (N, C, H, W) in 0..255 to feature maps of 1/16 the size (1024 channels for 121 at 112x112: 7x7)."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        spec = SPECS[cfg['num_layers']].configured(cfg)
        norm = GLUON_NORM.configured(cfg)
        act = Act(cfg['net_act'], shared=True, parameter='alpha')
        self.pixels = PixelNorm(cfg)
        self.features = nn.HybridSequential(prefix='densenet0_')
        with self.features.name_scope():
            width = spec.init
            self.features.add(*_stem(cfg['image_shape'][2], width, norm))
            for stage, layers in enumerate(spec.layers):
                if stage:
                    self.features.add(*_transition(stage, width, width // 2, norm, act))
                    width //= 2
                dropout = cfg['densenet_dropout']
                self.features.add(_stage(stage + 1, layers, width, spec, dropout, norm, act))
                width += layers * spec.growth
            last = len(spec.layers)
            self.features.add(BatchNorm(f'batchnorm{last}', width, norm))
            self.features.add(Act('relu')(f'relu{last}', width))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem, stages with transitions between them, last batch norm and ReLU."""
        return self.features(self.pixels(x))


def _stem(in_channels: int, channels: int, norm: Norm) -> List[HybridBlock]:
    return [
        Conv('conv0', in_channels, channels, 3, node=NODE),
        BatchNorm('batchnorm0', channels, norm),
        Act('relu')('relu0', channels),
        Operator('pool0_fwd', 'Pooling', kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type='max'),
    ]


def _transition(index: int, in_channels: int, channels: int, norm: Norm, act: Act) -> List[HybridBlock]:
    """Halve the channels and the size; `index` is that of the stage before. Gluon counts its PReLUs from 0."""
    act_index = index - 1 if act.kind.startswith('prelu') else index
    layers = _norm_act_conv(index, act_index, in_channels, channels, 1, norm, act)
    pool = Operator(f'pool{index}_fwd', 'Pooling', kernel=(2, 2), stride=(2, 2), pool_type='avg')
    return [*layers, pool]


def _stage(
    index: int, layers: int, channels: int, spec: DenseSpec, dropout: float, norm: Norm, act: Act
) -> HybridBlock:
    stage = nn.HybridSequential(prefix=f'stage{index}_')
    with stage.name_scope():
        for layer in range(layers):
            width = channels + layer * spec.growth
            stage.add(dense_layer(layer, width, spec, dropout=dropout, norm=norm, act=act))
    return stage
