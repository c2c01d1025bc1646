"""Xception (Chollet 2017, 'Xception: Deep Learning with Depthwise Separable Convolutions', figure 5).

The paper's stem halves a 299x299 image (net_input=0); for faces it keeps the size, so that 112x112 ends at 7x7.
Parameters are named after Keras's layers, but for the shortcuts, which have no names there. With net_variant='article'
it is the Xception built layer by layer in an article on Keras, which has fewer batch norms and one shortcut less.
"""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Optional, Tuple

from config.errors import ConfigError
from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.layers import BatchNorm, Conv, MaxPool, Norm, Size, scale_width
from symbols.stems import PixelNorm

from mxnet.gluon import HybridBlock, nn

__all__ = ['Xception', 'middle_flow', 'res_block', 'sep_conv_block']

EPS = 1e-3


class Spec(NamedTuple):
    """A block of separable convolutions and its shortcut.

    `normed` is how many of the separable convolutions, from the first on, have a batch norm. A block that halves the
    size has a convolution with a batch norm as its shortcut, in which `bias` says whether it has a bias; the others
    have their input.
    """

    widths: Tuple[int, ...]
    halve: bool = False
    act_first: bool = True
    normed: int = 3
    shortcut: bool = True
    bias: bool = False


class Layout(NamedTuple):
    """The blocks of a variant, and the padding of the stem's convolutions where they halve (None keeps the edge)."""

    blocks: Tuple[Spec, ...]
    pad: Optional[int]


NORM, ACT = Norm(eps=EPS), Act('relu')
RESIDUAL = Spec(
    (), halve=True, normed=0, bias=True
)  # the article's blocks of the entry flow and of the middle flow
MIDDLE = Spec((), normed=0)
MIDDLE_BLOCKS = 8
STEM = (32, 64)
PAPER_STEM = 0  # net_input
EXIT = (1536, 2048)
LAYOUTS = {
    None: Layout(
        pad=0,
        blocks=(
            Spec((128, 128), halve=True, act_first=False),
            Spec((256, 256), halve=True),
            Spec((728, 728), halve=True),
            *([Spec((728, 728, 728))] * MIDDLE_BLOCKS),
            Spec((728, 1024), halve=True),
        ),
    ),
    'article': Layout(
        pad=None,
        blocks=(
            Spec((128, 128), halve=True, act_first=False, normed=1, shortcut=False),
            RESIDUAL._replace(widths=(256, 256)),
            RESIDUAL._replace(widths=(728, 728)),
            *([MIDDLE._replace(widths=(728, 728, 728))] * MIDDLE_BLOCKS),
            Spec((728, 1024), halve=True, normed=0),
        ),
    ),
}


def separable(name: str, in_channels: int, channels: int, kernel_size: Size = 3) -> List[HybridBlock]:
    """Return a depthwise convolution (`<name>_dw`) and a 1x1 (`<name>_pw`), at stride 1."""
    return [
        Conv(f'{name}_dw', in_channels, in_channels, kernel_size, groups=in_channels),
        Conv(f'{name}_pw', in_channels, channels, 1),
    ]


def sep_conv_block(
    in_channels: int, filters: int, kernel_size: Size = 3, name: Optional[str] = None, *, act: Act = ACT
) -> HybridBlock:
    """Return an activation and a separable convolution, (N, C, H, W) to (N, filters, H, W).

    name: what its parameters' names begin with; None lets Gluon choose.
    """
    block = nn.HybridSequential(prefix='' if name else None)
    own = name or 'sepconv'
    with block.name_scope():
        block.add(act(f'{own}_act', in_channels), *separable(own, in_channels, filters, kernel_size))
    return block


class XceptionBlock(HybridBlock):
    """Separable convolutions with a shortcut, (N, C, H, W) to (N, widths[-1], H, W), or half of H and W."""

    def __init__(
        self, prefix: Optional[str], in_channels: int, spec: Spec, *, norm: Norm, act: Act, padding: str
    ) -> None:
        super().__init__(prefix=prefix)
        self._adds = spec.shortcut
        with self.name_scope():
            self.branch = nn.HybridSequential(prefix='')
            width = in_channels
            for index, channels in enumerate(spec.widths, start=1):
                name = f'sepconv{index}'
                if spec.act_first or index > 1:
                    self.branch.add(sep_conv_block(width, channels, name=name, act=act))
                else:
                    self.branch.add(*separable(name, width, channels))
                if index <= spec.normed:
                    self.branch.add(BatchNorm(f'sepconv{index}_bn', channels, norm))
                width = channels
            self.shortcut = nn.HybridSequential(prefix='')
            if spec.halve:
                self.branch.add(MaxPool('pool', 3, padding=padding))
            if spec.halve and spec.shortcut:
                self.shortcut.add(Conv('shortcut_conv', in_channels, width, 1, stride=2, bias=spec.bias))
                self.shortcut.add(BatchNorm('shortcut_bn', width, norm))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Add the branch to the shortcut, where there is one."""
        branch = self.branch(x)
        return F.elemwise_add(branch, self.shortcut(x), name='plus') if self._adds else branch


def res_block(
    in_channels: int, filters: int, name: Optional[str] = None, *, norm: Norm = NORM, act: Act = ACT
) -> HybridBlock:
    """Return the article's block of the entry flow, (N, C, H, W) to (N, filters, H/2, W/2), sizes rounded up.

    Two `sep_conv_block` and a pooling, beside a 1x1 convolution with a batch norm; all pad as TensorFlow.
    name: as in `sep_conv_block`.
    """
    spec = RESIDUAL._replace(widths=(filters, filters))
    return XceptionBlock(name and f'{name}_', in_channels, spec, norm=norm, act=act, padding='tf_same')


def middle_flow(
    in_channels: int,
    filters: int,
    name: Optional[str] = None,
    *,
    repeats: int = MIDDLE_BLOCKS,
    act: Act = ACT,
) -> HybridBlock:
    """Return the article's middle flow, (N, filters, H, W) to the same shape: blocks of three `sep_conv_block` each.

    name: as in `sep_conv_block`. Raises ConfigError where in_channels differ from filters: each block adds its input.
    """
    if in_channels != filters:
        raise ConfigError(
            f'middle_flow adds its input: filters={filters} must equal in_channels={in_channels}'
        )
    flow = nn.HybridSequential(prefix=name and f'{name}_')
    spec = MIDDLE._replace(widths=(filters,) * 3)
    with flow.name_scope():
        for index in range(1, repeats + 1):
            flow.add(XceptionBlock(f'block{index}_', filters, spec, norm=NORM, act=act, padding='tf_same'))
    return flow


@BACKBONES.register('xception')
class Xception(HybridBlock):
    """Map images (N, C, H, W) to feature maps (N, 2048 * net_multiplier, H/16, W/16), sizes rounded up.

    With the paper's stem the size is H/32 and W/32: 10x10 at 299x299.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        layout = LAYOUTS[cfg['net_variant']]
        norm = Norm(eps=EPS).configured(cfg)
        act = Act(cfg['net_act'])

        def scaled(width: int) -> int:
            return scale_width(width, cfg['net_multiplier'])

        self.features = nn.HybridSequential(prefix='')
        self.features.add(PixelNorm(cfg), *_stem(cfg, layout, norm, act))
        width = scaled(STEM[-1])
        for index, spec in enumerate(layout.blocks, start=2):
            spec = spec._replace(widths=tuple(map(scaled, spec.widths)))
            prefix = f'block{index}_'
            self.features.add(XceptionBlock(prefix, width, spec, norm=norm, act=act, padding=cfg['padding']))
            width = spec.widths[-1]
        for index, channels in enumerate(map(scaled, EXIT), start=1):
            name = f'block{len(layout.blocks) + 2}_sepconv{index}'
            self.features.add(*separable(name, width, channels), BatchNorm(f'{name}_bn', channels, norm))
            self.features.add(act(f'{name}_act', channels))
            width = channels

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Entry, middle and exit flow."""
        return self.features(x)


def _stem(cfg: Mapping[str, Any], layout: Layout, norm: Norm, act: Act) -> List[HybridBlock]:
    """Return two 3x3 convolutions, the first of which halves the size in the paper's stem."""
    halve = cfg['net_input'] == PAPER_STEM
    width = cfg['image_shape'][2]
    layers: List[HybridBlock] = []
    for index, full in enumerate(STEM, start=1):
        name, channels = f'block1_conv{index}', scale_width(full, cfg['net_multiplier'])
        stride, pad = (2 if halve and index == 1 else 1), (layout.pad if halve else None)
        # Only at stride 2 does TensorFlow pad otherwise than by kernel // 2, and then the map is the image.
        same_size = (
            cfg['image_shape'][:2] if cfg['padding'] == 'tf_same' and stride > 1 and pad is None else None
        )
        layers.append(Conv(name, width, channels, 3, stride=stride, pad=pad, same_size=same_size))
        layers += [BatchNorm(f'{name}_bn', channels, norm), act(f'{name}_act', channels)]
        width = channels
    return layers
