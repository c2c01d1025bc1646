"""DenseNet for ImageNet, as keras.applications has it (Huang et al. 2017, 'Densely Connected Convolutional Networks').

Unlike `densenet` it has a 7x7 stem of stride 2 and Keras's eps. Parameters are named after Keras's layers:
`conv2_block1_1_conv_weight`. Keras pads the stem's pooling with zeros, mxnet with nothing, which is the same behind a
relu.
"""

from __future__ import annotations

from typing import Any, List, Mapping

from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.dense import BOTTLENECK, DEPTHS, Append
from symbols.layers import BatchNorm, Conv, MaxPool, Norm, Operator, scale_width
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

EPS = 1.001e-5
SPECS = {depth: DEPTHS[depth] for depth in (121, 169, 201)}


@BACKBONES.register('keras_densenet')
class KerasDenseNet(HybridBlock):
    """Map images (N, C, H, W) to feature maps of 1/32 the size (1024 channels for 121; 7x7 at 224x224)."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        spec = SPECS[cfg['num_layers']]
        growth = scale_width(spec.growth, cfg['net_multiplier'])
        norm = Norm(eps=EPS).configured(cfg)
        act = Act(cfg['net_act'])
        width = scale_width(spec.init, cfg['net_multiplier'])
        self.features = nn.HybridSequential(prefix='')
        self.features.add(
            PixelNorm(cfg), Conv('conv1_conv', cfg['image_shape'][2], width, 7, stride=2, pad=3)
        )
        self.features.add(
            BatchNorm('conv1_bn', width, norm), act('conv1_relu', width), MaxPool('pool1_pool', 3)
        )
        for stage, layers in enumerate(spec.layers, start=2):
            if stage > 2:  # Keras names a transition after the stage before it
                self.features.add(*_transition(f'pool{stage - 1}', width, width // 2, norm, act))
                width //= 2
            for layer in range(1, layers + 1):
                name = f'conv{stage}_block{layer}'
                dropout = cfg['densenet_dropout']
                self.features.add(_dense_layer(name, width, growth, dropout=dropout, norm=norm, act=act))
                width += growth
        self.features.add(BatchNorm('bn', width, norm), act('relu', width))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem, dense layers with transitions between the stages, last batch norm and activation."""
        return self.features(x)


def _norm_act(name: str, channels: int, norm: Norm, act: Act) -> List[HybridBlock]:
    return [BatchNorm(f'{name}_bn', channels, norm), act(f'{name}_relu', channels)]


def _dense_layer(
    name: str, in_channels: int, growth: int, *, dropout: float, norm: Norm, act: Act
) -> HybridBlock:
    """Return batch norm, activation, 1x1, batch norm, activation, 3x3; (N, C, H, W) to (N, C + growth, H, W)."""
    narrow = BOTTLENECK * growth
    branch = nn.HybridSequential(prefix='')
    branch.add(*_norm_act(f'{name}_0', in_channels, norm, act))
    branch.add(Conv(f'{name}_1_conv', in_channels, narrow, 1))
    branch.add(*_norm_act(f'{name}_1', narrow, norm, act))
    branch.add(Conv(f'{name}_2_conv', narrow, growth, 3))
    if dropout:
        branch.add(Operator(f'{name}_dropout', 'Dropout', p=dropout))
    return Append(f'{name}_concat', branch, in_channels, growth)


def _transition(name: str, in_channels: int, channels: int, norm: Norm, act: Act) -> List[HybridBlock]:
    """Change the channels and halve the size, rounded down."""
    pool = Operator(f'{name}_pool', 'Pooling', kernel=(2, 2), stride=(2, 2), pool_type='avg')
    return [*_norm_act(name, in_channels, norm, act), Conv(f'{name}_conv', in_channels, channels, 1), pool]
