"""MobileFaceNet: InsightFace's `fmobilefacenet` (Chen et al. 2018, 'MobileFaceNets', table 1).

Names, shapes and outputs equal InsightFace's, which knows no net_multiplier here. `net_blocks` holds the residual
bottlenecks per stage; a single one in the first stage is a plain depthwise convolution.

With net_variant='arcface_torch' it is the network that InsightFace has in PyTorch: net_multiplier widens what the
stages pass on, and not the inside of a bottleneck; the first stage's convolution has 64 groups, the last layer 512
channels.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, List, Mapping, NamedTuple, Tuple

from config.errors import ConfigError
from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.blocks import conv_norm_act
from symbols.layers import Norm, scale_width
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

EPS = 1e-3
STEM = 64
LAST = 512
FIRST_INNER = 128  # of the first stage's bottlenecks in arcface_torch


class Spec(NamedTuple):
    """A stage: its channels, its bottlenecks' inner channels, and those of the bottleneck that halves the size."""

    channels: int
    inner: int
    halving: int


STAGES = (Spec(64, 128, 128), Spec(128, 256, 256), Spec(128, 256, 512))  # the third to the fifth

Layer = Callable[..., List[HybridBlock]]  # conv_norm_act with the network's batch norm and activation


class Bottleneck(HybridBlock):
    """A 1x1 to `inner` channels, a depthwise 3x3, a linear 1x1; (N, in_channels, H, W) to (N, channels, H', W').

    Sandler et al. 2018, 'MobileNetV2', figure 4d. With `residual` the input is added.
    """

    def __init__(
        self,
        prefix: str,
        in_channels: int,
        inner: int,
        channels: int,
        layer: Layer,
        *,
        stride: int = 1,
        residual: bool = False,
    ) -> None:
        super().__init__(prefix=prefix)
        self._residual = residual
        with self.name_scope():
            self.branch = nn.HybridSequential(prefix='')
            self.branch.add(*layer('conv_sep', in_channels, inner, 1))
            self.branch.add(*layer('conv_dw', inner, inner, 3, stride=stride, groups=inner))
            self.branch.add(*layer('conv_proj', inner, channels, 1, act=None))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Widen, filter, project, and add the input where the unit is residual."""
        y = self.branch(x)
        return F.elemwise_add(y, x, name='plus') if self._residual else y


def _blocks(cfg: Mapping[str, Any]) -> Tuple[int, ...]:
    blocks = tuple(cfg['net_blocks'])
    stages = 1 + len(STAGES)
    if len(blocks) != stages:
        raise ConfigError(
            f'net_blocks={blocks!r} does not go with net_name={cfg["net_name"]!r}, which takes {stages} numbers'
        )
    return blocks


def _residuals(stage: int, count: int, channels: int, inner: int, layer: Layer) -> List[HybridBlock]:
    return [
        Bottleneck(f'res_{stage}_block{index}_', channels, inner, channels, layer, residual=True)
        for index in range(count)
    ]


@BACKBONES.register('mobilefacenet')
class MobileFaceNet(HybridBlock):
    """Map faces (N, C, H, W) in 0..255 to feature maps (N, 512 * net_multiplier, H/16, W/16), sizes rounded up.

    512 channels in arcface_torch's. Raises ConfigError when net_blocks has not four numbers.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        layer = partial(conv_norm_act, norm=Norm(eps=EPS).configured(cfg), act=Act(cfg['net_act']))

        fixed = cfg['net_variant'] == 'arcface_torch'

        def scaled(width: int) -> int:
            return scale_width(width, cfg['net_multiplier'])

        def inside(width: int) -> int:
            return width if fixed else scaled(width)

        first, *rest = _blocks(cfg)
        width = scaled(STEM)
        self.features = nn.HybridSequential(prefix='')
        self.features.add(PixelNorm(cfg))
        self.features.add(*layer('conv_1', cfg['image_shape'][2], width, 3, stride=2))
        if first == 1:
            self.features.add(*layer('conv_2_dw', width, width, 3, groups=min(width, inside(STEM))))
        else:
            self.features.add(*_residuals(2, first, width, FIRST_INNER if fixed else width, layer))
        for stage, (spec, count) in enumerate(zip(STAGES, rest), start=3):
            channels, inner, halving = scaled(spec.channels), inside(spec.inner), inside(spec.halving)
            prefix = f'dconv_{stage - 1}{stage}_'
            self.features.add(Bottleneck(prefix, width, halving, channels, layer, stride=2))
            self.features.add(*_residuals(stage, count, channels, inner, layer))
            width = channels
        self.features.add(*layer('conv_6sep', width, inside(LAST), 1))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem, stages, last 1x1."""
        return self.features(x)
