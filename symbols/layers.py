"""The layers all networks are made of, one small HybridBlock each, with the parameter names of InsightFace.

A leaf block has an empty prefix and takes its node's name, so the scope of the block around it names both the node
and its parameters: `Conv('conv1', ...)` inside a block with the prefix `stage1_unit1_` is the node
`stage1_unit1_conv1` with the parameter `stage1_unit1_conv1_weight`. Every node is named, so nothing depends on what
the process built before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Optional, Tuple, Union

from config.presets import ACTIVATIONS as ACTIVATION_NAMES
from symbols.registry import Registry

import mxnet as mx
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

    def with_eps(self, eps: float) -> Norm:
        """Return the same settings with another eps."""
        return replace(self, eps=eps)


GLUON_NORM = Norm(eps=1e-5, statistics='running', node='{}_fwd', beta_wd_mult=1.0)


class Conv(HybridBlock):
    """A 2-D convolution, (N, in_channels, H, W) to (N, channels, H', W'); parameters `<name>_weight`, `<name>_bias`."""

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
    ) -> None:
        super().__init__(prefix='')
        kernel = pair(kernel)
        if pad is None:  # keeps the size at stride 1
            pad = (kernel[0] // 2, kernel[1] // 2)
        self._settings = {
            'name': node.format(name),
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
        inputs = (x, weight) if bias is None else (x, weight, bias)
        return F.Convolution(*inputs, **self._settings)


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


class PReLU(HybridBlock):
    """max(0, x) + a * min(0, x) with trained slopes a (He et al. 2015, 'Delving Deep into Rectifiers', section 2.1).

    (N, channels, H, W) to the same shape; `slopes` is `channels`, or 1 for one slope shared by all of them. Equal to
    `LeakyReLU(act_type='prelu')` to the last bit. That operator is not used, because in a symbolic or hybridised net
    mxnet 1.9.1 may write its input's gradient over the output's gradient before it reads that for the slopes, whose
    gradient then is multiplied by the slope itself.
    """

    def __init__(self, name: str, slopes: int, *, parameter: str) -> None:
        super().__init__(prefix='')
        self._node = name
        self.slope = self.params.get(f'{name}_{parameter}', shape=(slopes,), init=mx.init.Constant(0.25))

    def hybrid_forward(self, F: Any, x: Any, slope: Any) -> Any:
        """Rectify, with slope a below zero."""
        name = self._node
        positive = F.Activation(x, act_type='relu', name=f'{name}_positive')
        negative = F._internal._minimum_scalar(x, scalar=0.0, name=f'{name}_negative')
        slope = F.reshape(slope, shape=(1, -1, 1, 1), name=f'{name}_slope')
        # Spread out first: with broadcast_mul, whose gradient sums slowly, a training step took 1.7 times as long.
        slopes = F.broadcast_like(slope, negative, name=f'{name}_slopes')
        return F.elemwise_add(positive, F.elemwise_mul(negative, slopes, name=f'{name}_scaled'), name=name)


class Swish(HybridBlock):
    """x * sigmoid(x) (Ramachandran et al. 2017, 'Searching for Activation Functions', with beta = 1)."""

    def __init__(self, name: str) -> None:
        super().__init__(prefix='')
        self._node = name

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Multiply by the gate."""
        gate = F.sigmoid(x, name=f'{self._node}_gate')
        return F.elemwise_mul(x, gate, name=self._node)


class SELU(HybridBlock):
    """scale * (x, and alpha * (exp(x) - 1) below zero) (Klambauer et al. 2017, equation 2).

    Not `LeakyReLU(act_type='selu')`, whose gradient below zero is wrong in mxnet 1.9.1 by up to 0.09.
    """

    ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805

    def __init__(self, name: str) -> None:
        super().__init__(prefix='')
        self._node = name

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Scale an ELU."""
        elu = F.LeakyReLU(x, act_type='elu', slope=self.ALPHA, name=f'{self._node}_elu')
        return F._internal._mul_scalar(elu, scalar=self.SCALE, name=self._node)


@dataclass(frozen=True)
class Act:
    """Which activation a network has and how its PReLU slopes are held.

    `kind` is a name of ACTIVATIONS; `shared` gives 'prelu' one slope per layer in place of one per channel;
    `parameter` is the slopes' name behind the layer's (InsightFace: gamma, and alpha where it uses Gluon).
    """

    kind: str
    shared: bool = False
    parameter: str = 'gamma'

    def __call__(self, name: str, channels: int) -> HybridBlock:
        """Build the activation layer `name` for feature maps of `channels` channels."""
        return ACTIVATIONS.get(self.kind)(name, channels, self)


ACTIVATIONS = Registry('net_act', dict.fromkeys(ACTIVATION_NAMES, ()))


@ACTIVATIONS.register('relu')
def _relu(name: str, channels: int, act: Act) -> HybridBlock:
    return Operator(name, 'Activation', act_type='relu')


@ACTIVATIONS.register('prelu')
def _prelu(name: str, channels: int, act: Act) -> HybridBlock:
    return PReLU(name, 1 if act.shared else channels, parameter=act.parameter)


@ACTIVATIONS.register('prelu_channel')
def _prelu_channel(name: str, channels: int, act: Act) -> HybridBlock:
    return PReLU(name, channels, parameter=act.parameter)


@ACTIVATIONS.register('elu')
def _elu(name: str, channels: int, act: Act) -> HybridBlock:
    """x, and exp(x) - 1 below zero (Clevert et al. 2015, alpha = 1)."""
    return Operator(name, 'LeakyReLU', act_type='elu', slope=1.0)


@ACTIVATIONS.register('leaky')
def _leaky(name: str, channels: int, act: Act) -> HybridBlock:
    """x, and 0.25 x below zero: mxnet's default slope, and what PReLU starts from."""
    return Operator(name, 'LeakyReLU', act_type='leaky', slope=0.25)


@ACTIVATIONS.register('selu')
def _selu(name: str, channels: int, act: Act) -> HybridBlock:
    return SELU(name)


@ACTIVATIONS.register('gelu')
def _gelu(name: str, channels: int, act: Act) -> HybridBlock:
    """X times the normal distribution function of x (Hendrycks and Gimpel 2016)."""
    return Operator(name, 'LeakyReLU', act_type='gelu')


@ACTIVATIONS.register('swish')
def _swish(name: str, channels: int, act: Act) -> HybridBlock:
    return Swish(name)
