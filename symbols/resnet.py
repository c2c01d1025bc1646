"""ResNet for faces: InsightFace's `fresnet` (Deng et al. 2019, ArcFace, section 3.1: 'LResNet-IR').

Names, shapes and outputs equal InsightFace's. A residual unit is a row of UNITS, a depth is a row of SPECS.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Tuple, Union

from symbols.backbones import BACKBONES
from symbols.layers import Act, BatchNorm, Conv, Norm, scale_width
from symbols.stems import FaceStem

from mxnet.gluon import HybridBlock, nn

STEM = 64
WIDTHS = (64, 128, 256, 512)
# Units per stage, by depth. InsightFace's 50 and 100 are deeper in the third stage than He et al.'s.
SPECS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
}


class ConvStep(NamedTuple):
    """A convolution of a residual unit to the unit's width; `strided` carries the unit's stride."""

    name: str
    kernel: int
    strided: bool = False


class NormStep(NamedTuple):
    """A batch norm of a residual unit."""

    name: str


class ActStep(NamedTuple):
    """An activation of a residual unit."""

    name: str


Step = Union[ConvStep, NormStep, ActStep]

# The residual branch of each of InsightFace's units, by net_unit.
UNITS: Mapping[int, Tuple[Step, ...]] = {
    3: (
        NormStep('bn1'),
        ConvStep('conv1', 3),
        NormStep('bn2'),
        ActStep('relu1'),
        ConvStep('conv2', 3, strided=True),
        NormStep('bn3'),
    ),
}


class Unit(HybridBlock):
    """A residual unit, (N, in_channels, H, W) to (N, channels, H/stride, W/stride).

    The shortcut is the input itself, or a 1x1 convolution with batch norm where `project` says so.
    """

    def __init__(
        self,
        prefix: str,
        in_channels: int,
        channels: int,
        *,
        stride: int,
        project: bool,
        steps: Tuple[Step, ...],
        norm: Norm,
        act: Act,
    ) -> None:
        super().__init__(prefix=prefix)
        with self.name_scope():
            self.branch = nn.HybridSequential(prefix='')
            width = in_channels
            for step in steps:
                if isinstance(step, ConvStep):
                    conv_stride = stride if step.strided else 1
                    self.branch.add(Conv(step.name, width, channels, step.kernel, stride=conv_stride))
                    width = channels
                elif isinstance(step, NormStep):
                    self.branch.add(BatchNorm(step.name, width, norm))
                else:
                    self.branch.add(act(step.name, width))
            self.shortcut = nn.HybridSequential(prefix='')
            if project:
                self.shortcut.add(Conv('conv1sc', in_channels, channels, 1, stride=stride))
                self.shortcut.add(BatchNorm('sc', channels, norm))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Add the branch to the shortcut."""
        return F.elemwise_add(self.branch(x), self.shortcut(x), name='plus')


@BACKBONES.register('resnet')
class ResNet(HybridBlock):
    """Map faces (N, C, H, W) in 0..255 to feature maps (N, 512 * net_multiplier, H/16, W/16), sizes rounded up."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        norm = Norm(momentum=cfg['bn_mom'])
        act = Act(cfg['net_act'])
        steps = UNITS[cfg['net_unit']]
        width = scale_width(STEM, cfg['net_multiplier'])
        self.features = nn.HybridSequential(prefix='')
        self.features.add(FaceStem(cfg['image_shape'][2], width, norm, act))
        for stage, units in enumerate(SPECS[cfg['num_layers']]):
            channels = scale_width(WIDTHS[stage], cfg['net_multiplier'])
            for unit in range(units):
                first = unit == 0
                self.features.add(
                    Unit(
                        f'stage{stage + 1}_unit{unit + 1}_',
                        width,
                        channels,
                        stride=2 if first else 1,
                        project=first,
                        steps=steps,
                        norm=norm,
                        act=act,
                    )
                )
                width = channels

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Stem and stages."""
        return self.features(x)
