"""DenseNet without bottlenecks, as the book 'Dive into Deep Learning' has it (Zhang et al.).

Batch norm, activation and one 3x3 convolution make a dense layer; every convolution has a bias.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.dense import Append, DenseSpec
from symbols.layers import BatchNorm, Conv, MaxPool, Norm, Operator
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

__all__ = ['DenseBlock', 'PlainDenseNet', 'transition_block']

NORM, ACT = Norm(eps=1e-5), Act('relu')
SPEC = DenseSpec(init=64, growth=32, layers=(4, 4, 4, 4))


class DenseBlock(nn.HybridSequential):
    """`num_convs` dense layers, (N, input_channels, H, W) to (N, input_channels + num_convs * num_channels, H, W).

    name: what its parameters' names begin with; None lets Gluon choose.
    """

    def __init__(
        self,
        num_convs: int,
        input_channels: int,
        num_channels: int,
        *,
        name: Optional[str] = None,
        dropout: float = 0.0,
        norm: Norm = NORM,
        act: Act = ACT,
    ) -> None:
        super().__init__(prefix=name and f'{name}_')
        with self.name_scope():
            for index in range(num_convs):
                unit, width = f'unit{index + 1}', input_channels + index * num_channels
                branch = nn.HybridSequential(prefix='')
                branch.add(*_norm_act_conv(unit, width, num_channels, 3, norm, act))
                if dropout:
                    branch.add(Operator(f'{unit}_dropout', 'Dropout', p=dropout))
                self.add(Append(f'{unit}_concat', branch, width, num_channels))


def transition_block(
    input_channels: int,
    num_channels: int,
    *,
    name: Optional[str] = None,
    norm: Norm = NORM,
    act: Act = ACT,
) -> HybridBlock:
    """Return what changes the channels and halves the size, rounded down: (N, num_channels, H/2, W/2)."""
    block = nn.HybridSequential(prefix=name and f'{name}_')
    with block.name_scope():
        block.add(*_norm_act_conv('transition', input_channels, num_channels, 1, norm, act))
        average = {'kernel': (2, 2), 'stride': (2, 2), 'pool_type': 'avg'}
        block.add(Operator('transition_pool', 'Pooling', **average))
    return block


def _norm_act_conv(
    name: str, in_channels: int, channels: int, kernel: int, norm: Norm, act: Act
) -> List[HybridBlock]:
    return [
        BatchNorm(f'{name}_bn', in_channels, norm),
        act(f'{name}_relu', in_channels),
        Conv(f'{name}_conv', in_channels, channels, kernel, bias=True),
    ]


@BACKBONES.register('plain_densenet')
class PlainDenseNet(HybridBlock):
    """Map images (N, C, H, W) to feature maps (N, 248 * net_multiplier, H/32, W/32): 3x3 at 96x96."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        spec = SPEC.configured(cfg)
        own: Dict[str, Any] = {'norm': NORM.configured(cfg), 'act': Act(cfg['net_act'])}
        width, dropout = spec.init, cfg['densenet_dropout']
        self.features = nn.HybridSequential(prefix='')
        self.features.add(PixelNorm(cfg), Conv('conv0', cfg['image_shape'][2], width, 7, stride=2, bias=True))
        self.features.add(BatchNorm('bn0', width, own['norm']), own['act']('relu0', width))
        self.features.add(MaxPool('pool0', 3))
        for stage, layers in enumerate(spec.layers, start=1):
            name = f'stage{stage}'
            if stage > 1:
                self.features.add(transition_block(width, width // 2, name=name, **own))
                width //= 2
            self.features.add(DenseBlock(layers, width, spec.growth, name=name, dropout=dropout, **own))
            width += layers * spec.growth
        self.features.add(BatchNorm('bn_last', width, own['norm']), own['act']('relu_last', width))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem, dense blocks with transitions between them, last batch norm and activation."""
        return self.features(x)
