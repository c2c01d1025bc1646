"""The layers all networks are made of, one small HybridBlock each, with the parameter names of InsightFace.

A leaf block has an empty prefix and takes its node's name, so the scope of the block around it names both the node
and its parameters: `Conv('conv1', ...)` inside a block with the prefix `stage1_unit1_` is the node
`stage1_unit1_conv1` with the parameter `stage1_unit1_conv1_weight`. Every node is named, so nothing depends on what
the process built before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional, Tuple, Union

from config.errors import ConfigError

from mxnet.gluon import HybridBlock

Size = Union[int, Tuple[int, int]]


def pair(size: Size) -> Tuple[int, int]:
    """Return `size` as (height, width)."""
    return (size, size) if isinstance(size, int) else size


def scale_width(width: int, multiplier: float) -> int:
    """Return `width` channels times the config's net_multiplier, at least 1 (InsightFace: int(width * multiplier))."""
    return max(1, int(width * multiplier))


@dataclass(frozen=True)
class Norm:
    """How a family's batch norms are set and named.

    InsightFace builds some families from plain symbols (statistics `moving_*`, no weight decay on beta) and others
    from Gluon layers (statistics `running_*`, nodes `*_fwd`, weight decay on beta as on every parameter).
    """

    eps: float = 2e-5
    momentum: float = 0.9
    statistics: str = 'moving'
    node: str = '{}'
    beta_wd_mult: float = 0.0
    eps_is_given: bool = False

    def configured(self, cfg: Mapping[str, Any]) -> Norm:
        """Return these settings with the config's momentum, and with its eps in every layer where it has one."""
        if cfg['bn_eps'] is None:
            return replace(self, momentum=cfg['bn_mom'])
        return replace(self, momentum=cfg['bn_mom'], eps=cfg['bn_eps'], eps_is_given=True)

    def with_eps(self, eps: float) -> Norm:
        """Return the same settings with a layer's own eps, unless the config says what it is everywhere."""
        return self if self.eps_is_given else replace(self, eps=eps)


GLUON_NORM = Norm(eps=1e-5, statistics='running', node='{}_fwd', beta_wd_mult=1.0)


def mirror(F: Any, x: Any, axes: Tuple[int, ...], name: str) -> Any:
    """Turn (N, C, H, W) around along some axes: 2 upside down, 3 left to right."""
    return F.reverse(x, axis=axes, name=name)


def mirrored_axes(padding: str, kernel: Size, stride: Size, pad: Size) -> Tuple[int, ...]:
    """Return the axes of (N, C, H, W) along which to mirror a layer, so that it pads as `padding` says.

    Both kinds add kernel // 2 pixels on each side of an odd size. Of an even size at stride 2 one of them is left
    over: mxnet does without the last one, TensorFlow without the first. Mirroring, padding symmetrically and mirroring
    back gives TensorFlow's, whatever the size. For odd kernels and strides 1 and 2, which is what networks have.
    """
    if padding != 'tf_same':
        return ()
    sides = zip((2, 3), pair(kernel), pair(stride), pair(pad))
    return tuple(axis for axis, wide, step, padded in sides if wide > 1 and step > 1 and padded)


class Conv(HybridBlock):
    """A 2-D convolution, (N, in_channels, H, W) to (N, channels, H', W'); parameters `<name>_weight`, `<name>_bias`.

    `pad` is kernel // 2 by default, which keeps the size at stride 1; `padding` is the config's.
    Raises ConfigError when the channels do not split into `groups`.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        channels: int,
        kernel: Size,
        *,
        stride: Size = 1,
        pad: Optional[Size] = None,
        groups: int = 1,
        bias: bool = False,
        node: str = '{}',
        padding: str = 'symmetric',
    ) -> None:
        super().__init__(prefix='')
        if in_channels % groups or channels % groups:
            raise ConfigError(
                f'{name} cannot split {in_channels} and {channels} channels into {groups} groups; '
                'choose another net_multiplier'
            )
        kernel = pair(kernel)
        if pad is None:  # keeps the size at stride 1
            pad = (kernel[0] // 2, kernel[1] // 2)
        self._mirrored = mirrored_axes(padding, kernel, stride, pad)
        self._node = node.format(name)
        self._settings = {
            'num_filter': channels,
            'kernel': kernel,
            'stride': pair(stride),
            'pad': pair(pad),
            'num_group': groups,
            'no_bias': not bias,
        }
        self.weight = self.params.get(f'{name}_weight', shape=(channels, in_channels // groups, *kernel))
        if bias:
            self.bias = self.params.get(f'{name}_bias', shape=(channels,), init='zeros', wd_mult=0.0)

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        """Convolve."""
        name = self._node
        if self._mirrored:
            x = mirror(F, x, self._mirrored, f'{name}_mirrored')
            weight = mirror(F, weight, self._mirrored, f'{name}_kernel')
        inputs = (x, weight) if bias is None else (x, weight, bias)
        if not self._mirrored:
            return F.Convolution(*inputs, name=name, **self._settings)
        convolved = F.Convolution(*inputs, name=f'{name}_convolved', **self._settings)
        return mirror(F, convolved, self._mirrored, name)


class Dense(HybridBlock):
    """A fully connected layer on an explicitly flattened input, (N, ...) to (N, units).

    The flattening is a node of its own (`<name>_flatten`), because `mx.viz.print_summary` counts the weights of a
    FullyConnected on a 4-D input wrongly.
    """

    def __init__(self, name: str, in_units: int, units: int) -> None:
        super().__init__(prefix='')
        self._node = name
        self._units = units
        self.weight = self.params.get(f'{name}_weight', shape=(units, in_units))
        self.bias = self.params.get(f'{name}_bias', shape=(units,), init='zeros', wd_mult=0.0)

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any) -> Any:
        """Flatten and multiply."""
        flat = F.Flatten(x, name=f'{self._node}_flatten')
        return F.FullyConnected(flat, weight, bias, num_hidden=self._units, name=self._node)


class BatchNorm(HybridBlock):
    """A batch norm over the channels; parameters `<name>_gamma`, `<name>_beta` and two statistics.

    With `fix_gamma` the gamma is a parameter that is ignored (taken as 1) and not trained, as InsightFace has it.
    """

    def __init__(self, name: str, channels: int, norm: Norm, *, fix_gamma: bool = False) -> None:
        super().__init__(prefix='')
        self._settings = {
            'name': norm.node.format(name),
            'eps': norm.eps,
            'momentum': norm.momentum,
            'fix_gamma': fix_gamma,
        }
        shape = (channels,)
        self.gamma = self.params.get(
            f'{name}_gamma', shape=shape, init='ones', grad_req='null' if fix_gamma else 'write'
        )
        self.beta = self.params.get(f'{name}_beta', shape=shape, init='zeros', wd_mult=norm.beta_wd_mult)
        statistics = {'shape': shape, 'grad_req': 'null', 'differentiable': False}
        self.mean = self.params.get(f'{name}_{norm.statistics}_mean', init='zeros', **statistics)
        self.var = self.params.get(f'{name}_{norm.statistics}_var', init='ones', **statistics)

    def cast(self, dtype: Any) -> None:
        """Keep float32: mxnet's batch norm takes float16 maps, but not float16 parameters."""

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        """Normalise; in training mode also move the statistics (which mxnet does in backward)."""
        return F.BatchNorm(x, gamma, beta, mean, var, **self._settings)


class Operator(HybridBlock):
    """One operator of mxnet without parameters, by its name: `Operator('pool1', 'Pooling', kernel=(2, 2), ...)`."""

    def __init__(self, name: str, operator: str, **settings: Any) -> None:
        super().__init__(prefix='')
        self._operator = operator
        self._settings = {'name': name, **settings}

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Apply the operator."""
        return getattr(F, self._operator)(x, **self._settings)


class MaxPool(HybridBlock):
    """A max pooling of stride 2, (N, C, H, W) to (N, C, H/2, W/2); without `pad` windows beyond the edge are left out.

    `padding` is the config's: on which side of an even size the odd pixel is put.
    """

    def __init__(
        self, name: str, kernel: int, *, pad: Optional[int] = None, padding: str = 'symmetric'
    ) -> None:
        super().__init__(prefix='')
        self._node = name
        pad = kernel // 2 if pad is None else pad
        self._mirrored = mirrored_axes(padding, kernel, 2, pad)
        self._settings = {'kernel': pair(kernel), 'stride': (2, 2), 'pad': pair(pad), 'pool_type': 'max'}

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Take the largest value in each window."""
        name = self._node
        if not self._mirrored:
            return F.Pooling(x, name=name, **self._settings)
        x = mirror(F, x, self._mirrored, f'{name}_mirrored')
        pooled = F.Pooling(x, name=f'{name}_pooled', **self._settings)
        return mirror(F, pooled, self._mirrored, name)
