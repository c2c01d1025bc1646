"""VarGFaceNet: InsightFace's `vargfacenet` (Yan et al. 2019, 'VarGFaceNet', table 1).

Names, shapes and outputs equal InsightFace's. Where a MobileNet has one channel to a group of its 3x3 convolutions,
this has eight. As in InsightFace net_multiplier does not reach the last three convolutions.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Tuple

from config.errors import ConfigError
from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.blocks import SqueezeExcite
from symbols.layers import BatchNorm, Conv, Norm, scale_width
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

GROUP = 8  # channels
REDUCTION = 4  # in squeeze-and-excite
STEM = 32
LAST = 1024
LAST_KERNEL = 7
STRIDE = 16  # of the head and the stages together, which round sizes up


class Stage(NamedTuple):
    """A stage: its channels and blocks."""

    channels: int
    blocks: int


STAGES = (Stage(64, 3), Stage(128, 7), Stage(256, 4))


class Kind(NamedTuple):
    """A kind of block: the factor on the width between its convolutions, and what else it is made of."""

    factor: int = 2
    halve: bool = False
    two_branches: bool = False
    squeeze: bool = True


HEAD = Kind(factor=1, halve=True)
OPENING = Kind(halve=True, two_branches=True, squeeze=False)
NORMAL = Kind()


class Settings(NamedTuple):
    """What all layers of a network share."""

    norm: Norm
    act: Act
    squeeze: bool


def separable(
    name: str,
    in_channels: int,
    channels: int,
    settings: Settings,
    *,
    factor: int,
    stride: int = 1,
    linear: bool = True,
) -> HybridBlock:
    """Return a grouped 3x3 to `factor` times the width, and a 1x1; (N, in_channels, H, W) to (N, channels, H', W')."""
    depthwise, pointwise = f'{name}_conv2d_depthwise', f'{name}_conv2d_pointwise'
    wide = factor * in_channels
    layers = nn.HybridSequential(prefix='')
    layers.add(
        Conv(depthwise, in_channels, wide, 3, stride=stride, groups=in_channels // GROUP),
        BatchNorm(f'{depthwise}_bn', wide, settings.norm),
        settings.act(f'{depthwise}_act', wide),
        Conv(pointwise, wide, channels, 1),
        BatchNorm(f'{pointwise}_bn', channels, settings.norm),
    )
    if not linear:
        layers.add(settings.act(f'{pointwise}_act', channels))
    return layers


class TwoBranches(HybridBlock):
    """The activated sum of two separable convolutions, (N, in_channels, H, W) to (N, channels, H/2, W/2)."""

    def __init__(self, in_channels: int, channels: int, settings: Settings, *, factor: int) -> None:
        super().__init__(prefix='')
        shape = (in_channels, channels, settings)
        self.first = separable('sep1_data_branch', *shape, factor=factor, stride=2)
        self.second = separable('sep2_data_branch', *shape, factor=factor, stride=2)
        self.act = settings.act('sep1_data_act', channels)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Add and activate."""
        return self.act(F.elemwise_add(self.first(x), self.second(x), name='sep1_data_plus'))


class Block(HybridBlock):
    """Two separable convolutions with a shortcut, (N, in_channels, H, W) to (N, channels, H, W), or half of H and W."""

    def __init__(self, prefix: str, in_channels: int, channels: int, kind: Kind, settings: Settings) -> None:
        super().__init__(prefix=prefix)
        factor, stride = kind.factor, 2 if kind.halve else 1
        shape = (in_channels, channels, settings)
        with self.name_scope():
            self.branch = nn.HybridSequential(prefix='')
            if kind.two_branches:
                self.branch.add(TwoBranches(*shape, factor=factor))
            else:
                self.branch.add(separable('sep1_data', *shape, factor=factor, stride=stride, linear=False))
            self.branch.add(separable('sep2_data', channels, channels, settings, factor=factor))
            if kind.squeeze and settings.squeeze:
                self.branch.add(
                    SqueezeExcite(channels, settings.act, reduction=REDUCTION, act_name='se_act1')
                )
            self.shortcut = nn.HybridSequential(prefix='')
            if kind.halve:
                self.shortcut.add(separable('shortcut', *shape, factor=factor, stride=stride))
            self.act = settings.act('out_data_act', channels)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Add the branch to the shortcut and activate."""
        return self.act(F.elemwise_add(self.branch(x), self.shortcut(x), name='plus'))


def _widths(cfg: Mapping[str, Any]) -> Tuple[int, ...]:
    """Return the channels of the stem and of the stages, which have to split into groups."""
    multiplier = cfg['net_multiplier']
    widths = tuple(scale_width(channels, multiplier) for channels in (STEM, *(s.channels for s in STAGES)))
    if any(width % GROUP for width in widths):
        step = GROUP / STEM
        raise ConfigError(
            f'net_multiplier={multiplier!r} does not go with net_name={cfg["net_name"]!r}: it makes '
            f'{", ".join(map(str, widths))} channels, which have to be multiples of {GROUP}; '
            f'the nearest that does is {max(1, round(multiplier / step)) * step}'
        )
    return widths


@BACKBONES.register('vargfacenet')
class VarGFaceNet(HybridBlock):
    """Map faces (N, C, H, W) in 0..255 to feature maps (N, 512, H/16 - 6, W/16 - 6), sizes rounded up, at least 1.

    The last 7x7 convolution has no padding; of a smaller map it is as large as the map.
    Raises ConfigError when the channels are not multiples of 8.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        settings = Settings(Norm().configured(cfg), Act(cfg['net_act']), cfg['net_se'])
        width, *widths = _widths(cfg)
        image = cfg['image_shape']
        self.features = nn.HybridSequential(prefix='')
        self.features.add(PixelNorm(cfg), _head(image[2], width, settings))
        for index, (stage, channels) in enumerate(zip(STAGES, widths), start=2):
            for unit in range(1, stage.blocks + 1):
                prefix = f'vargface_stage_{index}_unit_{unit}_'
                kind = OPENING if unit == 1 else NORMAL
                self.features.add(Block(prefix, width, channels, kind, settings))
                width = channels
        height, breadth = (min(LAST_KERNEL, -(-side // STRIDE)) for side in image[:2])
        self.features.add(_embed(width, (height, breadth), settings))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Head, stages, last three convolutions."""
        return self.features(x)


def _head(in_channels: int, channels: int, settings: Settings) -> HybridBlock:
    """Return what InsightFace calls the head of the network: a 3x3 and a block that halves the size."""
    head = nn.HybridSequential(prefix='vargface_head_')
    with head.name_scope():
        head.add(
            Conv('conv1', in_channels, channels, 3),
            BatchNorm('conv1_bn', channels, settings.norm),
            settings.act('conv1_act', channels),
            Block('head_pooling_', channels, channels, HEAD, settings),
        )
    return head


def _embed(in_channels: int, kernel: Tuple[int, int], settings: Settings) -> HybridBlock:
    """Return a 1x1 to 1024 channels, a grouped convolution over the map, a 1x1 to 512."""
    norm, act, _ = settings
    embed = nn.HybridSequential(prefix='embed_')
    with embed.name_scope():
        embed.add(
            Conv('convx', in_channels, LAST, 1),
            BatchNorm('convx_bn', LAST, norm),
            act('convx_act', LAST),
            Conv('convx_depthwise', LAST, LAST, kernel, pad=0, groups=LAST // GROUP),
            BatchNorm('convx_depthwise_bn', LAST, norm),
            Conv('convx_pointwise', LAST, LAST // 2, 1),
            BatchNorm('convx_pointwise_bn', LAST // 2, norm),
            act('convx_pointwise_act', LAST // 2),
        )
    return embed
