"""ResNet for ImageNet, as keras.applications has it (He et al. 2016, 'Deep Residual Learning for Image Recognition').

A bottleneck unit with the stride in its first 1x1, and a bias in every convolution. Parameters are named after Keras's
layers: `conv2_block1_1_conv_weight`. With net_variant='article' it is the ResNet that is built layer by layer in
articles on Keras, with an ELU (net_act='elu'), Keras's default eps and a pooling without padding. Their L2 penalty on
the kernels of the convolutions is off: kernel_l2=1e-4, say, turns it on, and kernel_l2_factors gives layers their own.

Keras pads the pooling with zeros, mxnet with nothing, which is the same behind a relu.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Sequence, Union

from config.errors import ConfigError
from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.layers import BatchNorm, Conv, MaxPool, Norm, Size, scale_width
from symbols.residual import ActStep, ConvStep, NormStep, Unit, UnitSettings, UnitSpec
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

__all__ = ['KerasResNet', 'conv_block', 'identity_block']


class Variant(NamedTuple):
    """What the variants differ in: the batch norms' eps, and the padding of the stem's pooling."""

    eps: float
    pool_pad: int


VARIANTS = {None: Variant(1.001e-5, 1), 'article': Variant(1e-3, 0)}

NORM, ACT = Norm(eps=VARIANTS[None].eps), Act('relu')

# Units per stage; all depths have bottlenecks.
SPECS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STEM = 64
WIDTHS = (256, 512, 1024, 2048)
CONVOLUTIONS = 3  # in the branch of a unit

UNIT = UnitSpec(
    branch=(
        ConvStep('1_conv', 1, strided=True, bias=True),
        NormStep('1_bn'),
        ActStep('1_relu'),
        ConvStep('2_conv', 3, bias=True),
        NormStep('2_bn'),
        ActStep('2_relu'),
        ConvStep('3_conv', 1, bias=True),
        NormStep('3_bn'),
    ),
    projection=(ConvStep('0_conv', 1, strided=True, bias=True), NormStep('0_bn')),
    after=(ActStep('out'),),
)


def identity_block(
    in_channels: int,
    kernel_size: int,
    filters: Sequence[int],
    stage: int,
    block: Union[int, str],
    *,
    norm: Norm = NORM,
    act: Act = ACT,
) -> Unit:
    """Return a bottleneck unit whose shortcut is its input: (N, C, H, W) to the same shape.

    kernel_size: of the middle convolution. filters: channels of the three convolutions, the last in_channels.
    stage, block: what its parameters' names begin with, `conv<stage>_block<block>_`.
    Raises ConfigError for other filters, and an even kernel.
    """
    if filters[-1] != in_channels:
        raise ConfigError(
            f'identity_block adds its input: filters={tuple(filters)!r} must end in in_channels={in_channels}; '
            'conv_block changes the channels'
        )
    settings = _settings(kernel_size, filters, norm, act)
    prefix = f'conv{stage}_block{block}_'
    return Unit(prefix, in_channels, in_channels, settings, stride=1, project=False)


def conv_block(
    in_channels: int,
    kernel_size: int,
    filters: Sequence[int],
    stage: int,
    block: Union[int, str],
    strides: Size = 2,
    *,
    norm: Norm = NORM,
    act: Act = ACT,
) -> Unit:
    """Return a bottleneck unit with a convolution as its shortcut: (N, C, H, W) to (N, filters[2], H', W').

    strides: of the first and the shortcut's convolution. The others and errors as in `identity_block`.
    """
    settings = _settings(kernel_size, filters, norm, act)
    prefix = f'conv{stage}_block{block}_'
    return Unit(prefix, in_channels, filters[-1], settings, stride=strides, project=True)


def _settings(kernel_size: int, filters: Sequence[int], norm: Norm, act: Act) -> UnitSettings:
    """Return UNIT with these channels and this kernel in the middle."""
    if kernel_size < 1 or kernel_size % 2 != 1 or len(filters) != CONVOLUTIONS:
        raise ConfigError(
            f'kernel_size={kernel_size!r} and filters={tuple(filters)!r} must be an odd number and three numbers'
        )
    own: Dict[str, Dict[str, Any]] = {
        '1_conv': {'filters': filters[0]},
        '2_conv': {'filters': filters[1], 'kernel': kernel_size},
    }
    branch = tuple(
        step._replace(**own.get(step.name, {})) if isinstance(step, ConvStep) else step
        for step in UNIT.branch
    )
    return UnitSettings(UNIT._replace(branch=branch), norm, act)


@BACKBONES.register('keras_resnet')
class KerasResNet(HybridBlock):
    """Map images (N, C, H, W) to feature maps (N, 2048 * net_multiplier, H/32, W/32), 7x7 at 224x224."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        variant = VARIANTS[cfg['net_variant']]
        norm = Norm(eps=variant.eps).configured(cfg)
        act = Act(cfg['net_act'])

        def scaled(channels: int) -> int:
            return scale_width(channels, cfg['net_multiplier'])

        width = scaled(STEM)
        self.features = nn.HybridSequential(prefix='')
        self.features.add(PixelNorm(cfg))
        self.features.add(Conv('conv1_conv', cfg['image_shape'][2], width, 7, stride=2, bias=True))
        self.features.add(BatchNorm('conv1_bn', width, norm), act('conv1_relu', width))
        self.features.add(MaxPool('pool1_pool', 3, pad=variant.pool_pad))
        for stage, units in enumerate(SPECS[cfg['num_layers']], start=2):
            channels = scaled(WIDTHS[stage - 2])
            narrow = scale_width(channels, 1 / 4)
            unit = (cfg['resnet_kernel'], (narrow, narrow, channels), stage)
            stride = 2 if stage > 2 else 1
            self.features.add(conv_block(width, *unit, 1, stride, norm=norm, act=act))
            for index in range(2, units + 1):
                self.features.add(identity_block(channels, *unit, index, norm=norm, act=act))
            width = channels

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem and stages."""
        return self.features(x)
