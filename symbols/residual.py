"""The residual unit: its branch and shortcut as a row of data, from which one block builds every kind."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Tuple, Union

from symbols.activations import Act
from symbols.blocks import SqueezeExcite
from symbols.layers import BatchNorm, Conv, Norm, Size, scale_width

from mxnet.gluon import HybridBlock, nn


class ConvStep(NamedTuple):
    """A convolution to `width` times the unit's channels, or to `filters`; `strided` carries the unit's stride."""

    name: str
    kernel: int
    strided: bool = False
    width: float = 1.0
    groups: int = 1
    bias: bool = False
    filters: Optional[int] = None


class NormStep(NamedTuple):
    """A batch norm."""

    name: str


class ActStep(NamedTuple):
    """An activation."""

    name: str


class SqueezeStep(NamedTuple):
    """Squeeze-and-excite, where the network has it."""


Step = Union[ConvStep, NormStep, ActStep, SqueezeStep]


class UnitSpec(NamedTuple):
    """The steps of a residual unit: before branch and shortcut part, the branch, the projection, after the sum.

    The projection is left out where the unit changes neither width nor size, and then the shortcut is the unit's
    input itself, from before the `common` steps.
    """

    branch: Tuple[Step, ...]
    projection: Tuple[Step, ...]
    common: Tuple[Step, ...] = ()
    after: Tuple[Step, ...] = ()


class UnitSettings(NamedTuple):
    """What all units of a network share."""

    spec: UnitSpec
    norm: Norm
    act: Act
    squeeze: bool = False


class Unit(HybridBlock):
    """A residual unit, (N, in_channels, H, W) to (N, channels, H/stride, W/stride), sizes rounded up."""

    def __init__(
        self,
        prefix: str,
        in_channels: int,
        channels: int,
        settings: UnitSettings,
        *,
        stride: Size,
        project: bool,
    ) -> None:
        super().__init__(prefix=prefix)
        self._project = project
        with self.name_scope():

            def steps(part: Tuple[Step, ...], width: int) -> HybridBlock:
                return _build(part, width, channels, stride, settings)

            self.common = steps(settings.spec.common, in_channels)
            self.branch = steps(settings.spec.branch, in_channels)
            self.projection = steps(settings.spec.projection if project else (), in_channels)
            self.after = steps(settings.spec.after, channels)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Add the branch to the shortcut."""
        common = self.common(x)
        shortcut = self.projection(common) if self._project else x
        return self.after(F.elemwise_add(self.branch(common), shortcut, name='plus'))


def _build(
    steps: Tuple[Step, ...], width: int, channels: int, stride: Size, settings: UnitSettings
) -> HybridBlock:
    """Return the steps one after another, from `width` channels on."""
    built = nn.HybridSequential(prefix='')
    for step in steps:
        if isinstance(step, ConvStep):
            wide = step.filters or scale_width(channels, step.width)
            built.add(
                Conv(
                    step.name,
                    width,
                    wide,
                    step.kernel,
                    stride=stride if step.strided else 1,
                    groups=step.groups,
                    bias=step.bias,
                )
            )
            width = wide
        elif isinstance(step, NormStep):
            built.add(BatchNorm(step.name, width, settings.norm))
        elif isinstance(step, ActStep):
            built.add(settings.act(step.name, width))
        elif settings.squeeze:
            built.add(SqueezeExcite(width, settings.act))
    return built
