"""The activations, one small block each, and `Act`: which one a network has and how its slopes are held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from config.presets import ACTIVATIONS as ACTIVATION_NAMES
from symbols.layers import Operator
from symbols.registry import Registry

import mxnet as mx
from mxnet.gluon import HybridBlock


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


ACTIVATIONS = Registry('net_act', dict.fromkeys(ACTIVATION_NAMES, ()), name='ACTIVATIONS')


def _operator(kind: str, name: str, channels: int, act: Act) -> HybridBlock:
    return Operator(name, 'Activation', act_type=kind)


for _kind in ('relu', 'sigmoid', 'tanh', 'softrelu', 'softsign'):
    ACTIVATIONS.register(_kind)(partial(_operator, _kind))


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
