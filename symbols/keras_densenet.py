"""DenseNet for ImageNet, as keras.applications has it (Huang et al. 2017, 'Densely Connected Convolutional Networks').

Unlike `densenet` it has a 7x7 stem of stride 2 and Keras's eps. Parameters are named after Keras's layers:
`conv2_block1_1_conv_weight`. Keras pads the stem's pooling with zeros, mxnet with nothing, which is the same behind a
relu.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.dense import BOTTLENECK, DEPTHS, Append
from symbols.layers import BatchNorm, Conv, MaxPool, Norm, Operator, scale_width
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

__all__ = ['KerasDenseNet', 'conv_block', 'dense_block', 'transition_block']

EPS = 1.001e-5
NORM, ACT = Norm(eps=EPS), Act('relu')
SPECS = {depth: DEPTHS[depth] for depth in (121, 169, 201)}


def conv_block(
    in_channels: int,
    growth_rate: int,
    name: str,
    *,
    bottleneck: int = BOTTLENECK,
    dropout: float = 0.0,
    norm: Norm = NORM,
    act: Act = ACT,
) -> HybridBlock:
    """Return a dense layer, (N, C, H, W) to (N, C + growth_rate, H, W): twice batch norm, activation, convolution.

    The first convolution is a 1x1 to `bottleneck` * growth_rate channels, the second a 3x3.
    """
    narrow = bottleneck * growth_rate
    branch = nn.HybridSequential(prefix='')
    branch.add(*_norm_act(f'{name}_0_', in_channels, norm, act))
    branch.add(Conv(f'{name}_1_conv', in_channels, narrow, 1))
    branch.add(*_norm_act(f'{name}_1_', narrow, norm, act))
    branch.add(Conv(f'{name}_2_conv', narrow, growth_rate, 3))
    if dropout:
        branch.add(Operator(f'{name}_dropout', 'Dropout', p=dropout))
    return Append(f'{name}_concat', branch, in_channels, growth_rate)


def dense_block(
    in_channels: int, blocks: int, name: Optional[str] = None, *, growth_rate: int = 32, **settings: Any
) -> HybridBlock:
    """Return `blocks` dense layers, (N, C, H, W) to (N, C + blocks * growth_rate, H, W).

    name: what its parameters' names begin with; None lets Gluon choose. settings: those of `conv_block`.
    """
    block = nn.HybridSequential(prefix=name and f'{name}_')
    with block.name_scope():
        for index in range(blocks):
            width = in_channels + index * growth_rate
            block.add(conv_block(width, growth_rate, f'block{index + 1}', **settings))
    return block


def transition_block(
    in_channels: int, reduction: float, name: Optional[str] = None, *, norm: Norm = NORM, act: Act = ACT
) -> HybridBlock:
    """Return what keeps that share of the channels and halves the size, both rounded down; name: as above."""
    block = nn.HybridSequential(prefix=name and f'{name}_')
    with block.name_scope():
        block.add(*_norm_act('', in_channels, norm, act))
        block.add(Conv('conv', in_channels, scale_width(in_channels, reduction), 1))
        block.add(Operator('pool', 'Pooling', kernel=(2, 2), stride=(2, 2), pool_type='avg'))
    return block


def _norm_act(prefix: str, channels: int, norm: Norm, act: Act) -> List[HybridBlock]:
    return [BatchNorm(f'{prefix}bn', channels, norm), act(f'{prefix}relu', channels)]


@BACKBONES.register('keras_densenet')
class KerasDenseNet(HybridBlock):
    """Map images (N, C, H, W) to feature maps of 1/32 the size (1024 channels for 121; 7x7 at 224x224)."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        spec = SPECS[cfg['num_layers']].configured(cfg)
        own: Dict[str, Any] = {'norm': NORM.configured(cfg), 'act': Act(cfg['net_act'])}
        dense = {**own, 'dropout': cfg['densenet_dropout'], 'bottleneck': spec.bottleneck}
        growth, width = spec.growth, spec.init
        self.features = nn.HybridSequential(prefix='')
        self.features.add(
            PixelNorm(cfg), Conv('conv1_conv', cfg['image_shape'][2], width, 7, stride=2, pad=3)
        )
        self.features.add(*_norm_act('conv1_', width, **own), MaxPool('pool1_pool', 3))
        for stage, layers in enumerate(spec.layers, start=2):
            if stage > 2:  # Keras names a transition after the stage before it
                self.features.add(transition_block(width, 0.5, f'pool{stage - 1}', **own))
                width //= 2
            self.features.add(dense_block(width, layers, f'conv{stage}', growth_rate=growth, **dense))
            width += layers * growth
        self.features.add(*_norm_act('', width, **own))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem, dense blocks with transitions between them, last batch norm and activation."""
        return self.features(x)
