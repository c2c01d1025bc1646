"""DenseNet without bottlenecks, as the book 'Dive into Deep Learning' has it (Zhang et al.).

Batch norm, activation and one 3x3 convolution make a dense layer; every convolution has a bias.
"""

from __future__ import annotations

from typing import Any, List, Mapping

from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.dense import Append, DenseSpec
from symbols.layers import BatchNorm, Conv, MaxPool, Norm, Operator, scale_width
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

EPS = 1e-5
SPEC = DenseSpec(init=64, growth=32, layers=(4, 4, 4, 4))


class DenseBlock(nn.HybridSequential):
    """`layers` dense layers, (N, in_channels, H, W) to (N, in_channels + layers * growth, H, W)."""

    def __init__(
        self,
        prefix: str,
        in_channels: int,
        layers: int,
        growth: int,
        *,
        norm: Norm,
        act: Act,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(prefix=prefix)
        with self.name_scope():
            for index in range(layers):
                name, width = f'unit{index + 1}', in_channels + index * growth
                branch = nn.HybridSequential(prefix='')
                branch.add(*_norm_act_conv(name, width, growth, 3, norm, act))
                if dropout:
                    branch.add(Operator(f'{name}_dropout', 'Dropout', p=dropout))
                self.add(Append(f'{name}_concat', branch, width, growth))


class Transition(nn.HybridSequential):
    """Change the channels and halve the size, (N, in_channels, H, W) to (N, channels, H/2, W/2), rounded down."""

    def __init__(self, prefix: str, in_channels: int, channels: int, *, norm: Norm, act: Act) -> None:
        super().__init__(prefix=prefix)
        with self.name_scope():
            self.add(*_norm_act_conv('transition', in_channels, channels, 1, norm, act))
            average = {'kernel': (2, 2), 'stride': (2, 2), 'pool_type': 'avg'}
            self.add(Operator('transition_pool', 'Pooling', **average))


@BACKBONES.register('plain_densenet')
class PlainDenseNet(HybridBlock):
    """Map images (N, C, H, W) to feature maps (N, 248 * net_multiplier, H/32, W/32): 3x3 at 96x96."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        norm = Norm(eps=EPS).configured(cfg)
        act = Act(cfg['net_act'])
        growth = scale_width(SPEC.growth, cfg['net_multiplier'])
        width = scale_width(SPEC.init, cfg['net_multiplier'])
        self.features = nn.HybridSequential(prefix='')
        self.features.add(PixelNorm(cfg), Conv('conv0', cfg['image_shape'][2], width, 7, stride=2, bias=True))
        self.features.add(BatchNorm('bn0', width, norm), act('relu0', width), MaxPool('pool0', 3))
        for stage, layers in enumerate(SPEC.layers, start=1):
            prefix = f'stage{stage}_'
            if stage > 1:
                self.features.add(Transition(prefix, width, width // 2, norm=norm, act=act))
                width //= 2
            dropout = cfg['densenet_dropout']
            self.features.add(DenseBlock(prefix, width, layers, growth, norm=norm, act=act, dropout=dropout))
            width += layers * growth
        self.features.add(BatchNorm('bn_last', width, norm), act('relu_last', width))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem, dense blocks with transitions between them, last batch norm and activation."""
        return self.features(x)


def _norm_act_conv(
    name: str, in_channels: int, channels: int, kernel: int, norm: Norm, act: Act
) -> List[HybridBlock]:
    return [
        BatchNorm(f'{name}_bn', in_channels, norm),
        act(f'{name}_relu', in_channels),
        Conv(f'{name}_conv', in_channels, channels, kernel, bias=True),
    ]
