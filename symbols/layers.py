"""The layers all networks are made of, one small HybridBlock each, with the parameter names of InsightFace.

A leaf block has an empty prefix and takes its node's name, so the scope of the block around it names both the node
and its parameters: `Conv('conv1', ...)` inside a block with the prefix `stage1_unit1_` is the node
`stage1_unit1_conv1` with the parameter `stage1_unit1_conv1_weight`. Every node is named, so nothing depends on what
the process built before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Mapping, Optional, Tuple, Union

from config.errors import ConfigError
from symbols.ir.flattening import FLAT
from symbols.ir.padding import SAME, same_pads

import mxnet as mx
from mxnet.gluon import HybridBlock

Size = Union[int, Tuple[int, int]]
SIDES = (2, 3)  # axes of (N, C, H, W)
BATCH_AND_CHANNELS = 4  # numbers of a Pad for these two axes


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


class Conv(HybridBlock):
    """A 2-D convolution, (N, in_channels, H, W) to (N, channels, H', W'); parameters `<name>_weight`, `<name>_bias`.

    `pad` is kernel // 2 by default, which keeps the size at stride 1. With `same_size`, the (height, width) of the map,
    it pads as TensorFlow's padding='same' does: right for maps of that size, and for others that are padded alike.
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
        same_size: Optional[Tuple[int, int]] = None,
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
        pads = same_pads(same_size, kernel, pair(stride)) if same_size else ()
        self._uneven: Tuple[int, ...] = ()
        if any(before != behind for before, behind in pads):
            self._uneven, pad = tuple(chain((0,) * BATCH_AND_CHANNELS, *pads)), 0
        elif pads:
            pad = (pads[0][0], pads[1][0])
        self._attributes = SAME if pads else {}
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
        inputs = (weight,) if bias is None else (weight, bias)
        with mx.AttrScope(**self._attributes):
            if self._uneven:
                x = F.Pad(x, mode='constant', pad_width=self._uneven, name=f'{self._node}_pad')
            return F.Convolution(x, *inputs, name=self._node, **self._settings)


class Dense(HybridBlock):
    """A fully connected layer on a flattened input, (N, ...) to (N, units).

    The flattening is a node of its own (`<name>_flatten`) and keeps four axes, (N, values, 1, 1): of a FullyConnected
    on a map `mx.viz.print_summary` counts the weights wrongly, and InsightFace's flops_counter reads a fourth axis.
    init: of the weights; None: the initialiser of the whole network.
    """

    def __init__(self, name: str, in_units: int, units: int, init: Any = None) -> None:
        super().__init__(prefix='')
        self._node = name
        self._units = units
        self.weight = self.params.get(f'{name}_weight', shape=(units, in_units), init=init)
        self.bias = self.params.get(f'{name}_bias', shape=(units,), init='zeros', wd_mult=0.0)

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any) -> Any:
        """Flatten and multiply."""
        flat = F.reshape(x, shape=FLAT, name=f'{self._node}_flatten')
        return F.FullyConnected(
            flat,
            weight,
            bias,
            num_hidden=self._units,
            flatten=True,  # the default, which MXNet's own exporter of ONNX takes for False where it is not written
            name=self._node,
        )


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

    `padding` is the config's: of an even size one pixel of padding is left over; mxnet leaves out the one behind,
    TensorFlow the one before. Mirrored, padded symmetrically and mirrored back it is TensorFlow's, whatever the size.
    """

    def __init__(
        self, name: str, kernel: int, *, pad: Optional[int] = None, padding: str = 'symmetric'
    ) -> None:
        super().__init__(prefix='')
        self._node = name
        pad = kernel // 2 if pad is None else pad
        self._mirrored = padding == 'tf_same' and pad > 0
        self._settings = {'kernel': pair(kernel), 'stride': (2, 2), 'pad': pair(pad), 'pool_type': 'max'}

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Take the largest value in each window."""
        name = self._node
        if not self._mirrored:
            return F.Pooling(x, name=name, **self._settings)
        x = F.reverse(x, axis=SIDES, name=f'{name}_mirrored')
        pooled = F.Pooling(x, name=f'{name}_pooled', **self._settings)
        return F.reverse(pooled, axis=SIDES, name=name)
