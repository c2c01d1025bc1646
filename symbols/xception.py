"""Xception for faces (Chollet 2017, 'Xception: Deep Learning with Depthwise Separable Convolutions', figure 5).

The paper's stem halves a 299x299 image; here it keeps the size, so that a 112x112 face ends at 7x7.
"""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Tuple

from symbols.backbones import BACKBONES
from symbols.layers import Act, BatchNorm, Conv, Norm, Operator, scale_width
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

EPS = 1e-3


class Spec(NamedTuple):
    """A residual block: the widths of its separable convolutions, whether it halves the size, activates first."""

    widths: Tuple[int, ...]
    halve: bool
    act_first: bool


STEM = (32, 64)
BLOCKS = (
    Spec((128, 128), halve=True, act_first=False),
    Spec((256, 256), halve=True, act_first=True),
    Spec((728, 728), halve=True, act_first=True),
    *([Spec((728, 728, 728), halve=False, act_first=True)] * 8),
    Spec((728, 1024), halve=True, act_first=True),
)
EXIT = (1536, 2048)


def separable(name: str, in_channels: int, channels: int, norm: Norm) -> List[HybridBlock]:
    """Return a depthwise 3x3 (`<name>_dw`), a 1x1 (`<name>_pw`) and a batch norm (`<name>_bn`), at stride 1."""
    return [
        Conv(f'{name}_dw', in_channels, in_channels, 3, groups=in_channels),
        Conv(f'{name}_pw', in_channels, channels, 1),
        BatchNorm(f'{name}_bn', channels, norm),
    ]


class XceptionBlock(HybridBlock):
    """Separable convolutions with a shortcut, (N, C, H, W) to (N, widths[-1], H, W), or half of H and W."""

    def __init__(self, prefix: str, in_channels: int, spec: Spec, *, norm: Norm, act: Act) -> None:
        super().__init__(prefix=prefix)
        with self.name_scope():
            self.branch = nn.HybridSequential(prefix='')
            width = in_channels
            for index, channels in enumerate(spec.widths, start=1):
                if spec.act_first or index > 1:
                    self.branch.add(act(f'sepconv{index}_act', width))
                self.branch.add(*separable(f'sepconv{index}', width, channels, norm))
                width = channels
            self.shortcut = nn.HybridSequential(prefix='')
            if spec.halve:
                halve = {'kernel': (3, 3), 'stride': (2, 2), 'pad': (1, 1), 'pool_type': 'max'}
                self.branch.add(Operator('pool', 'Pooling', **halve))
                self.shortcut.add(Conv('shortcut_conv', in_channels, width, 1, stride=2))
                self.shortcut.add(BatchNorm('shortcut_bn', width, norm))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Add the branch to the shortcut."""
        return F.elemwise_add(self.branch(x), self.shortcut(x), name='plus')


@BACKBONES.register('xception')
class Xception(HybridBlock):
    """Map faces (N, C, H, W) in 0..255 to feature maps (N, 2048 * net_multiplier, H/16, W/16), sizes rounded up."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        norm = Norm(eps=EPS, momentum=cfg['bn_mom'])
        act = Act(cfg['net_act'])

        def scaled(width: int) -> int:
            return scale_width(width, cfg['net_multiplier'])

        width = cfg['image_shape'][2]
        self.features = nn.HybridSequential(prefix='')
        self.features.add(PixelNorm())
        for index, channels in enumerate(map(scaled, STEM), start=1):
            name = f'block1_conv{index}'
            self.features.add(Conv(name, width, channels, 3))
            self.features.add(BatchNorm(f'{name}_bn', channels, norm), act(f'{name}_act', channels))
            width = channels
        for index, spec in enumerate(BLOCKS, start=2):
            spec = spec._replace(widths=tuple(map(scaled, spec.widths)))
            self.features.add(XceptionBlock(f'block{index}_', width, spec, norm=norm, act=act))
            width = spec.widths[-1]
        for index, channels in enumerate(map(scaled, EXIT), start=1):
            name = f'block{len(BLOCKS) + 2}_sepconv{index}'
            self.features.add(*separable(name, width, channels, norm), act(f'{name}_act', channels))
            width = channels

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Entry, middle and exit flow."""
        return self.features(x)
