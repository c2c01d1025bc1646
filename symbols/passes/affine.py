"""Linear layers and affine maps of a graph, with their values, for `symbols.passes.fold_batch_norm` to compute with.

Arithmetic is in float64; the values are float32 again when they are given back.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from symbols.ir.nodes import flag, read_attribute

Node = Mapping[str, Any]
Values = Mapping[str, np.ndarray]

BATCH_NORM_EPS = 1e-3  # MXNet's default
CHANNELS_SECOND = ('None', 'NCHW', 'NCW', 'NCDHW')


class Linear:
    """A Convolution or FullyConnected: z = W * x + bias, channels second in x.

    weight: (out, in / groups, ...). `padded` says whether the map is surrounded with zeros.
    """

    def __init__(
        self,
        names: Tuple[str, str],
        weight: np.ndarray,
        bias: Optional[np.ndarray],
        *,
        groups: int,
        padded: bool,
    ) -> None:
        self._weight_name, self.bias_name = names
        self._weight = weight.astype(np.float64)
        self._bias = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
        self._groups = groups
        self.padded = padded
        self.has_bias = bias is not None
        self.changed = False

    def scale_output(self, factor: np.ndarray) -> None:
        """Multiply what it gives by a factor (out,) for each channel."""
        self._weight *= _column(factor, self._weight.ndim)
        self._bias *= factor
        self.changed = True

    def shift_output(self, shift: np.ndarray) -> None:
        """Add (out,) to what it gives."""
        self._bias += shift
        self.has_bias = self.changed = True

    def scale_input(self, factor: np.ndarray) -> None:
        """Take x times a factor (in,) where it took x."""
        spread = self._spread(factor)
        self._weight = (self._weight.reshape(spread.shape[0], -1, *self._weight.shape[1:]) * spread).reshape(
            self._weight.shape
        )
        self.changed = True

    def shift_input(self, shift: np.ndarray) -> None:
        """Take x + shift (in,) where it took x; for a layer that pads, that is another map."""
        if not shift.any():
            return
        spread = self._spread(shift)
        grouped = self._weight.reshape(spread.shape[0], -1, *self._weight.shape[1:])
        self.shift_output((grouped * spread).sum(axis=tuple(range(2, grouped.ndim))).reshape(-1))

    def _spread(self, each: np.ndarray) -> np.ndarray:
        """Return (in,) as (groups, 1, in / groups, ...); a flattened map has each channel several times."""
        width = self._groups * self._weight.shape[1]
        whole = np.repeat(each, width // len(each))
        return whole.reshape(self._groups, 1, -1, *(1,) * (self._weight.ndim - 2))

    def values(self) -> Dict[str, np.ndarray]:
        """Return what has changed, by name."""
        if not self.changed:
            return {}
        own = {self._weight_name: self._weight}
        return {**own, self.bias_name: self._bias} if self.has_bias else own


class Affine:
    """scale * x + offset, each (channels,): a batch norm with its moving statistics, or a product with a constant.

    held: (name, value) of a batch norm's gamma and mean, which are written as they are used; the mean takes a shift.
    """

    def __init__(
        self, scale: np.ndarray, offset: np.ndarray, held: Sequence[Tuple[str, np.ndarray]] = ()
    ) -> None:
        self.scale = scale
        self.offset = offset
        self._held = list(held)

    @property
    def is_norm(self) -> bool:
        """Whether it can take a shift: the other kind has no place for it."""
        return bool(self._held)

    def shift_input(self, shift: np.ndarray) -> None:
        """Take x + shift where a batch norm took x."""
        self.offset = self.offset + self.scale * shift
        name, mean = self._held[-1]
        self._held[-1] = (name, mean - shift)

    def values(self) -> Dict[str, np.ndarray]:
        """Return what it reads, by name; a gamma that is fixed is 1, which not every runtime knows."""
        return dict(self._held)


def read_linear(node: Node, names: Sequence[str], values: Values) -> Optional[Linear]:
    """Return the linear layer that a described node is, if it is one; `names` are of its inputs."""
    attributes = node.get('attrs', {})
    if node['op'] == 'Convolution':
        if attributes.get('layout', 'None') not in CHANNELS_SECOND:
            return None
        pad = read_attribute(attributes, 'pad', ())
        padded = isinstance(pad, str) or bool(np.any(pad))  # text is what could not be read
        groups = int(attributes.get('num_group', 1))
    elif node['op'] == 'FullyConnected' and flag(attributes, 'flatten', True):
        groups, padded = 1, False
    else:
        return None
    weight, bias = values[names[1]], values[names[2]] if len(names) > 2 else None
    bias_name = names[2] if len(names) > 2 else _unused(f'{node["name"]}_bias', values)
    return Linear((names[1], bias_name), weight, bias, groups=groups, padded=padded)


def read_affine(
    node: Node, names: Sequence[str], values: Values, channels: Sequence[int]
) -> Optional[Affine]:
    """Return the affine map that a described node is, if it is one.

    channels: what its output has, (n,) or () where it has no second axis.
    """
    attributes = node.get('attrs', {})
    if node['op'] == '_mul_scalar' and channels:
        return Affine(np.full(channels, float(attributes['scalar'])), np.zeros(channels))
    if node['op'] != 'BatchNorm' or attributes.get('axis', '1') != '1':
        return None
    gamma, beta, mean, variance = (values[name].astype(np.float64) for name in names[1:])
    if flag(attributes, 'fix_gamma', True):
        gamma = np.ones_like(gamma)
    scale = gamma / np.sqrt(variance + float(attributes.get('eps', BATCH_NORM_EPS)))
    return Affine(scale, beta - scale * mean, [(names[1], gamma), (names[3], mean)])


def _column(each: np.ndarray, axes: int) -> np.ndarray:
    return each.reshape(-1, *(1,) * (axes - 1))


def _unused(name: str, values: Values) -> str:
    while name in values:
        name += '_'
    return name
