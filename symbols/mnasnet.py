"""MnasNet for faces: InsightFace's `fmnasnet` (Tan et al. 2019, 'MnasNet', without squeeze-and-excite).

Names, shapes and outputs equal InsightFace's, whose body has the names Gluon gave it
(`mnasnet0_stage2_expandedconv0_expand_conv0_weight`). As there, the first unit of a stage alone has the stage's kernel,
the others a 3x3, and a PReLU has one slope per layer ('prelu_channel' gives it one per channel).
"""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple

from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.blocks import gluon_act
from symbols.layers import GLUON_NORM, BatchNorm, Conv, Norm, scale_width
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

STEM = 32
SEPARABLE = 16
LAST = 1024


class Spec(NamedTuple):
    """A stage: its channels and units, how much wider they are inside, and its first unit's kernel and stride."""

    prefix: str
    channels: int
    units: int
    expansion: int
    kernel: int
    stride: int


STAGES = (
    Spec('stage2_', channels=24, units=3, expansion=3, kernel=3, stride=2),
    Spec('stage3_', channels=40, units=3, expansion=3, kernel=5, stride=2),
    Spec('stage4_1_', channels=80, units=3, expansion=6, kernel=5, stride=2),
    Spec('stage4_2_', channels=96, units=2, expansion=6, kernel=3, stride=1),
    Spec('stage5_1_', channels=192, units=4, expansion=6, kernel=5, stride=2),
    Spec('stage5_2_', channels=320, units=1, expansion=6, kernel=3, stride=1),
)


class Settings(NamedTuple):
    """What all layers of a network share."""

    norm: Norm
    act: Act


def _conv_norm_act(
    part: str,
    in_channels: int,
    channels: int,
    kernel: int,
    settings: Settings,
    *,
    index: int = 0,
    stride: int = 1,
    groups: int = 1,
    linear: bool = False,
) -> List[HybridBlock]:
    """Return `<part>conv<index>`, `<part>batchnorm<index>` and, unless it is linear, `<part>prelu<index>`."""
    norm, act = settings
    node = norm.node
    layers = [
        Conv(f'{part}conv{index}', in_channels, channels, kernel, stride=stride, groups=groups, node=node),
        BatchNorm(f'{part}batchnorm{index}', channels, norm),
    ]
    return layers if linear else [*layers, gluon_act(act, index, channels, part=part)]


class Unit(HybridBlock):
    """A 1x1 that widens, a depthwise convolution, a linear 1x1; (N, in_channels, H, W) to (N, channels, H', W').

    Sandler et al. 2018, 'MobileNetV2', figure 4d. `index` counts the units of a stage from 0: the first has the stage's
    kernel and stride, the others add their input.
    """

    def __init__(self, index: int, in_channels: int, channels: int, spec: Spec, settings: Settings) -> None:
        super().__init__(prefix=f'expandedconv{index}_')
        self._residual = index > 0
        kernel, stride = (3, 1) if self._residual else (spec.kernel, spec.stride)
        inner = spec.expansion * in_channels
        with self.name_scope():
            self.branch = nn.HybridSequential(prefix='')
            self.branch.add(
                *_conv_norm_act('expand_', in_channels, inner, 1, settings),
                *_conv_norm_act('dwise_', inner, inner, kernel, settings, stride=stride, groups=inner),
                *_conv_norm_act('linear_', inner, channels, 1, settings, linear=True),
            )

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Widen, filter, project, and add the input in all but the first unit."""
        y = self.branch(x)
        return F.elemwise_add(y, x, name='elemwise_add0') if self._residual else y


@BACKBONES.register('mnasnet')
class MnasNet(HybridBlock):
    """Map faces (N, C, H, W) in 0..255 to feature maps (N, 1024 * net_multiplier, H/16, W/16), sizes rounded up."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        settings = Settings(GLUON_NORM.configured(cfg), Act(cfg['net_act'], shared=True, parameter='alpha'))

        def scaled(width: int) -> int:
            return scale_width(width, cfg['net_multiplier'])

        stem, width = scaled(STEM), scaled(SEPARABLE)
        separable = 'stage1_sepconv0_'
        self.pixels = PixelNorm(cfg)
        self.features = nn.HybridSequential(prefix='mnasnet0_')
        with self.features.name_scope():
            self.features.add(
                *_conv_norm_act('stage1_conv0_', cfg['image_shape'][2], stem, 3, settings),
                *_conv_norm_act(separable, stem, stem, 3, settings, groups=stem),
                *_conv_norm_act(separable, stem, width, 1, settings, index=1),
            )
            for spec in STAGES:
                self.features.add(_stage(spec, width, scaled(spec.channels), settings))
                width = scaled(spec.channels)
            self.features.add(*_conv_norm_act('stage5_3_', width, scaled(LAST), 1, settings))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem, stages, last 1x1."""
        return self.features(self.pixels(x))


def _stage(spec: Spec, in_channels: int, channels: int, settings: Settings) -> HybridBlock:
    stage = nn.HybridSequential(prefix=spec.prefix)
    with stage.name_scope():
        for index in range(spec.units):
            stage.add(Unit(index, channels if index else in_channels, channels, spec, settings))
    return stage
