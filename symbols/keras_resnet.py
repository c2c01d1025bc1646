"""ResNet for ImageNet, as keras.applications has it (He et al. 2016, 'Deep Residual Learning for Image Recognition').

A bottleneck unit with the stride in its first 1x1, and a bias in every convolution. Parameters are named after Keras's
layers: `conv2_block1_1_conv_weight`. With net_variant='article' it is the ResNet that is built layer by layer in
articles on Keras, with an ELU (net_act='elu'), Keras's default eps and a pooling without padding. Their L2 penalty on
the kernels of the convolutions is off: kernel_l2=1e-4, say, turns it on, and kernel_l2_factors gives layers their own.

Keras pads the pooling with zeros, mxnet with nothing, which is the same behind a relu.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.layers import BatchNorm, Conv, MaxPool, Norm, scale_width
from symbols.residual import ActStep, ConvStep, NormStep, Unit, UnitSettings, UnitSpec
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn


class Variant(NamedTuple):
    """What the variants differ in: the batch norms' eps, and the padding of the stem's pooling."""

    eps: float
    pool_pad: int


VARIANTS = {None: Variant(1.001e-5, 1), 'article': Variant(1e-3, 0)}

# Units per stage; all depths have bottlenecks.
SPECS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STEM = 64
WIDTHS = (256, 512, 1024, 2048)

UNIT = UnitSpec(
    branch=(
        ConvStep('1_conv', 1, strided=True, width=0.25, bias=True),
        NormStep('1_bn'),
        ActStep('1_relu'),
        ConvStep('2_conv', 3, width=0.25, bias=True),
        NormStep('2_bn'),
        ActStep('2_relu'),
        ConvStep('3_conv', 1, bias=True),
        NormStep('3_bn'),
    ),
    projection=(ConvStep('0_conv', 1, strided=True, bias=True), NormStep('0_bn')),
    after=(ActStep('out'),),
)


@BACKBONES.register('keras_resnet')
class KerasResNet(HybridBlock):
    """Map images (N, C, H, W) to feature maps (N, 2048 * net_multiplier, H/32, W/32), 7x7 at 224x224."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        variant = VARIANTS[cfg['net_variant']]
        norm = Norm(eps=variant.eps).configured(cfg)
        act = Act(cfg['net_act'])
        settings = UnitSettings(UNIT, norm, act)

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
            for index in range(1, units + 1):
                stride = 2 if index == 1 and stage > 2 else 1
                prefix = f'conv{stage}_block{index}_'
                self.features.add(Unit(prefix, width, channels, settings, stride=stride, project=index == 1))
                width = channels

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem and stages."""
        return self.features(x)
