"""ResNet for faces: InsightFace's `fresnet` (Deng et al. 2019, ArcFace, section 3.1: 'LResNet-IR').

Names, shapes and outputs equal InsightFace's. A residual unit is a row of UNITS, a depth a row of DEPTHS.
"""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Tuple

from config.presets import RESNET_BOTTLENECK, RESNET_UNITS
from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.layers import BatchNorm, Conv, Norm, Operator, scale_width
from symbols.residual import ActStep, ConvStep, NormStep, SqueezeStep, Unit, UnitSettings, UnitSpec
from symbols.stems import PixelNorm, Stem

from mxnet.gluon import HybridBlock, nn

STEM = 64
WIDTHS = (64, 128, 256, 512)
BOTTLENECK_WIDTHS = (256, 512, 1024, 2048)
LAST = 512  # channels that a bottleneck network ends with

PROJECTION = (ConvStep('conv1sc', 1, strided=True), NormStep('sc'))
SQUEEZE = (SqueezeStep(),)


class UnitKind(NamedTuple):
    """One of InsightFace's residual units: with two 3x3 convolutions, and as a bottleneck."""

    plain: UnitSpec
    bottleneck: UnitSpec


def _after(*names: str) -> Tuple[ActStep, ...]:
    return tuple(map(ActStep, names))


def _v1(*, plain: Tuple[bool, bool], bottleneck: Tuple[bool, bool, bool]) -> UnitKind:
    """He et al. 2016a, figure 2 and 5, batch norm and activation behind each convolution; which has the stride."""
    inner = (NormStep('bn1'), ActStep('relu1'))
    return UnitKind(
        UnitSpec(
            branch=(
                ConvStep('conv1', 3, strided=plain[0]),
                *inner,
                ConvStep('conv2', 3, strided=plain[1]),
                NormStep('bn2'),
                *SQUEEZE,
            ),
            projection=PROJECTION,
            after=_after('relu3'),
        ),
        UnitSpec(
            branch=(
                ConvStep('conv1', 1, strided=bottleneck[0], width=0.25),
                *inner,
                ConvStep('conv2', 3, strided=bottleneck[1], width=0.25),
                NormStep('bn2'),
                ActStep('relu2'),
                ConvStep('conv3', 1, strided=bottleneck[2]),
                NormStep('bn3'),
                *SQUEEZE,
            ),
            projection=PROJECTION,
            after=_after('relu3'),
        ),
    )


V1 = _v1(plain=(True, False), bottleneck=(True, False, False))
V1_L = _v1(plain=(False, True), bottleneck=(False, False, True))  # the stride as late as it can be

# He et al. 2016b, 'Identity Mappings': batch norm and activation before each convolution.
V2 = UnitKind(
    UnitSpec(
        common=(NormStep('bn1'), ActStep('relu1')),
        branch=(
            ConvStep('conv1', 3, strided=True),
            NormStep('bn2'),
            ActStep('relu2'),
            ConvStep('conv2', 3),
            *SQUEEZE,
        ),
        projection=(ConvStep('sc', 1, strided=True),),
    ),
    UnitSpec(
        common=(NormStep('bn1'), ActStep('relu1')),
        branch=(
            ConvStep('conv1', 1, width=0.25),
            NormStep('bn2'),
            ActStep('relu2'),
            ConvStep('conv2', 3, strided=True, width=0.25),
            NormStep('bn3'),
            ActStep('relu3'),
            ConvStep('conv3', 1),
            *SQUEEZE,
        ),
        projection=(ConvStep('sc', 1, strided=True),),
    ),
)

# ArcFace's improved unit: batch norm first and last, one activation, the stride late.
V3 = UnitKind(
    UnitSpec(
        branch=(
            NormStep('bn1'),
            ConvStep('conv1', 3),
            NormStep('bn2'),
            ActStep('relu1'),
            ConvStep('conv2', 3, strided=True),
            NormStep('bn3'),
            *SQUEEZE,
        ),
        projection=PROJECTION,
    ),
    UnitSpec(
        branch=(
            NormStep('bn1'),
            ConvStep('conv1', 1, width=0.25),
            NormStep('bn2'),
            ActStep('relu1'),
            ConvStep('conv2', 3, width=0.25),
            NormStep('bn3'),
            ActStep('relu2'),
            ConvStep('conv3', 1, strided=True),
            NormStep('bn4'),
            *SQUEEZE,
        ),
        projection=PROJECTION,
    ),
)

# ResNeXt (Xie et al. 2017), a bottleneck at every depth; InsightFace's get_symbol calls a function it does not have.
_RESNEXT = UnitSpec(
    branch=(
        NormStep('bn1'),
        ConvStep('conv1', 1, width=0.5, groups=32),
        NormStep('bn2'),
        ActStep('relu1'),
        ConvStep('conv2', 3, width=0.5, groups=32),
        NormStep('bn3'),
        ActStep('relu2'),
        ConvStep('conv3', 1, strided=True),
        NormStep('bn4'),
        *SQUEEZE,
    ),
    projection=PROJECTION,
)
V4 = UnitKind(_RESNEXT, _RESNEXT)

UNITS: Mapping[int, UnitKind] = {1: V1_L, 2: V2, 3: V3, 4: V4}
IMAGENET_STEM = 0  # net_input


def unit_kind(cfg: Mapping[str, Any]) -> UnitKind:
    """Return the unit of the config; as in InsightFace net_unit=1 strides early behind the 7x7 stem alone."""
    early = cfg['net_unit'] == 1 and cfg['net_input'] == IMAGENET_STEM
    return V1 if early else UNITS[cfg['net_unit']]


def _stem(cfg: Mapping[str, Any], width: int, norm: Norm, act: Act) -> HybridBlock:
    """InsightFace's net_input: 0 a 7x7 of stride 2, 1 a 3x3, 2 a 3x3 on a batch norm in place of the constants."""
    channels = cfg['image_shape'][2]
    pixels = PixelNorm(cfg)
    if cfg['net_input'] == 2:
        pixels = BatchNorm('bn_data', channels, norm, fix_gamma=True)
    imagenet = {'kernel': 7, 'stride': 2} if cfg['net_input'] == IMAGENET_STEM else {}
    return Stem(pixels, channels, width, norm, act, **imagenet)


@BACKBONES.register('resnet')
class ResNet(HybridBlock):
    """Map faces (N, C, H, W) in 0..255 to feature maps (N, 512 * net_multiplier, H/16, W/16), sizes rounded up.

    H/32 and W/32 with net_input=0. Depths from 500 on are those of 500 less with bottleneck units, four times as
    wide, and a 1x1 convolution to 512 channels at the end. With fp16 all but the last stage computes in float16.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        norm = Norm().configured(cfg)
        act = Act(cfg['net_act'])
        bottleneck = cfg['num_layers'] >= RESNET_BOTTLENECK
        kind = unit_kind(cfg)
        settings = UnitSettings(
            kind.bottleneck if bottleneck else kind.plain, norm, act, squeeze=cfg['net_se']
        )

        def scaled(channels: int) -> int:
            return scale_width(channels, cfg['net_multiplier'])

        width = scaled(STEM)
        parts = [_stem(cfg, width, norm, act)]
        depth = cfg['num_layers'] - (RESNET_BOTTLENECK if bottleneck else 0)
        for stage, units in enumerate(RESNET_UNITS[depth]):
            channels = scaled((BOTTLENECK_WIDTHS if bottleneck else WIDTHS)[stage])
            parts.append(_stage(stage + 1, units, width, channels, settings))
            width = channels
        self.features = nn.HybridSequential(prefix='')
        self.features.add(*(_half_precision(parts) if cfg['fp16'] else parts))
        if bottleneck:
            last = scaled(LAST)
            self.features.add(Conv('convd', width, last, 1))
            self.features.add(BatchNorm('bnd', last, norm), act('relud', last))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem and stages."""
        return self.features(x)


def _stage(stage: int, units: int, width: int, channels: int, settings: UnitSettings) -> HybridBlock:
    """Return a stage whose first unit halves the size and changes the width."""
    built = nn.HybridSequential(prefix='')
    for unit in range(1, units + 1):
        first = unit == 1
        prefix = f'stage{stage}_unit{unit}_'
        built.add(Unit(prefix, width, channels, settings, stride=2 if first else 1, project=first))
        width = channels
    return built


def _half_precision(parts: List[HybridBlock]) -> List[HybridBlock]:
    """Return stem and stages such that all but the last stage compute in float16, batch norms' values apart."""
    *half, last = parts
    for part in half:
        part.cast('float16')
    down, up = (Operator(f'data_{name}', 'Cast', dtype=name) for name in ('float16', 'float32'))
    return [down, *half, up, last]
