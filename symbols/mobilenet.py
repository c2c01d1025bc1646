"""MobileNet for faces: InsightFace's `fmobilenet` (Howard et al. 2017, 'MobileNets', table 1).

Names, shapes and outputs equal InsightFace's. As there, the batch norms of the body have a fixed gamma, and all widths
are whole multiples of the first, which alone is scaled.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Mapping, NamedTuple

from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.blocks import conv_norm_act
from symbols.layers import Norm, scale_width
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

EPS = 1e-3
STEM = 32
IMAGENET_STEM = 0  # net_input


class Spec(NamedTuple):
    """A separable convolution: its channels as a multiple of the stem's, its stride."""

    factor: int
    stride: int


LAYERS = (
    Spec(2, 1),
    Spec(4, 2),
    Spec(4, 1),
    Spec(8, 2),
    Spec(8, 1),
    Spec(16, 2),
    *([Spec(16, 1)] * 5),
    Spec(32, 2),
    Spec(32, 1),
)


@BACKBONES.register('mobilenet')
class MobileNet(HybridBlock):
    """Map faces (N, C, H, W) in 0..255 to feature maps (N, 1024 * net_multiplier, H/16, W/16), sizes rounded up.

    H/32 and W/32 with net_input=0, whose first convolution has the paper's stride 2.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        norm, act = Norm(eps=EPS).configured(cfg), Act(cfg['net_act'])
        layer = partial(conv_norm_act, norm=norm, act=act, fix_gamma=True)
        stem = width = scale_width(STEM, cfg['net_multiplier'])
        stride = 2 if cfg['net_input'] == IMAGENET_STEM else 1
        self.features = nn.HybridSequential(prefix='')
        self.features.add(PixelNorm(cfg))
        self.features.add(*layer('conv_1', cfg['image_shape'][2], stem, 3, stride=stride))
        for index, spec in enumerate(LAYERS, start=2):
            name, channels = f'conv_{index}', spec.factor * stem
            self.features.add(*layer(f'{name}_dw', width, width, 3, stride=spec.stride, groups=width))
            self.features.add(*layer(name, width, channels, 1))
            width = channels

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem and separable convolutions."""
        return self.features(x)
