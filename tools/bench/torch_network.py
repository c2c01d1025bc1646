"""A network of MXNet in PyTorch, to be measured beside it: each operator of its json as PyTorch's own module."""

from __future__ import annotations

import operator
from ast import literal_eval
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np
import torch
from torch import nn

from config.errors import ConfigError
from symbols.ir.flattening import flattens

INPUT = 'data'
Attributes = Mapping[str, str]
# attributes and the arrays that an operator reads -> what computes it from the other inputs
Rule = Callable[[Attributes, Sequence[np.ndarray]], Callable[..., torch.Tensor]]


def build_torch(graph: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> TorchNetwork:
    """Return the network of a symbol's json (parsed) with the input `data`, (N, 3, H, W) to its first output.

    values: float32 of all other variables by name. It is in training mode, as PyTorch's modules are at first.
    Raises ConfigError for an operator that has no rule, or settings that PyTorch's modules do not have.
    """
    arrays = {
        number: values[node['name']]
        for number, node in enumerate(graph['nodes'])
        if node['op'] == 'null' and node['name'] != INPUT
    }
    steps: List[Step] = []
    start = 0
    for number, node in enumerate(graph['nodes']):
        if node['op'] == 'null':
            start = start if number in arrays else number
            continue
        read = [source for source, *_ in node['inputs']]
        module = _rule(node)(node.get('attrs', {}), [arrays[i] for i in read if i in arrays])
        steps.append((number, module, tuple(i for i in read if i not in arrays)))
    return TorchNetwork(steps, start, graph['heads'][0][0])


Step = Tuple[
    int, Callable[..., torch.Tensor], Tuple[int, ...]
]  # a node, what computes it, the nodes it reads


class TorchNetwork(nn.Module):
    """Runs the steps one after another; a tensor is let go when its last reader has run."""

    def __init__(self, steps: Sequence[Step], start: int, output: int) -> None:
        super().__init__()
        self.start, self.output = start, output
        self.layers = nn.ModuleList(module for _, module, _ in steps if isinstance(module, nn.Module))
        last = {source: number for number, _, read in steps for source in read}
        self.steps = [
            (number, module, read, [i for i in set(read) if last[i] == number and i != output])
            for number, module, read in steps
        ]

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """Compute the output of images (N, 3, H, W)."""
        held: Dict[int, torch.Tensor] = {self.start: data}
        del data
        for number, module, read, done in self.steps:
            held[number] = module(*[held[source] for source in read])
            for source in done:
                del held[source]
        return held[self.output]


def _rule(node: Mapping[str, Any]) -> Rule:
    if node['op'] not in RULES:
        raise ConfigError(
            f'{node["name"]!r} is an operator {node["op"]}, for which there is no rule in PyTorch'
        )
    return RULES[node['op']]


def _flag(attributes: Attributes, key: str, default: bool = False) -> bool:
    return attributes.get(key, str(default)).lower() in ('true', '1')


def _pair(attributes: Attributes, key: str, default: int) -> Tuple[int, int]:
    found = literal_eval(attributes.get(key, '()')) or (default, default)
    if len(found) != 2:
        raise ConfigError(f'{key}={found} has {len(found)} sides; images have 2')
    return found


def _with(module: nn.Module, **arrays: np.ndarray) -> nn.Module:
    """Return a module whose parameters and statistics of these names have these values."""
    state = module.state_dict()
    state.update({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
    module.load_state_dict(state)
    return module


def _convolution(attributes: Attributes, arrays: Sequence[np.ndarray]) -> nn.Module:
    weight = arrays[0]
    groups = int(attributes.get('num_group', '1'))
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        _pair(attributes, 'kernel', 1),
        stride=_pair(attributes, 'stride', 1),
        padding=_pair(attributes, 'pad', 0),
        dilation=_pair(attributes, 'dilate', 1),
        groups=groups,
        bias=len(arrays) > 1,
    )
    return _with(layer, **dict(zip(('weight', 'bias'), arrays)))


class _BatchNorm(nn.BatchNorm2d):
    """A batch norm of feature maps, and of vectors, too."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Take any number of axes."""


def _batch_norm(attributes: Attributes, arrays: Sequence[np.ndarray]) -> nn.Module:
    if attributes.get('axis', '1') != '1' or _flag(attributes, 'use_global_stats'):
        raise ConfigError('a batch norm over another axis than 1, or with fixed statistics, has no module')
    gamma, beta, mean, variance = arrays
    fixed = _flag(attributes, 'fix_gamma', True)
    # what MXNet keeps of the moving statistics, PyTorch replaces
    replaced = 1 - float(attributes.get('momentum', '0.9'))
    layer = _BatchNorm(len(gamma), eps=float(attributes.get('eps', '1e-3')), momentum=replaced)
    layer.weight.requires_grad_(not fixed)
    gamma = np.ones_like(gamma) if fixed else gamma
    return _with(layer, weight=gamma, bias=beta, running_mean=mean, running_var=variance)


def _reshape(attributes: Attributes, arrays: Sequence[np.ndarray]) -> nn.Module:
    if not flattens('Reshape', attributes):
        raise ConfigError('a Reshape that does not flatten has no module')
    return nn.Sequential(nn.Flatten(), nn.Unflatten(1, (-1, 1, 1)))


def _fully_connected(attributes: Attributes, arrays: Sequence[np.ndarray]) -> nn.Module:
    outputs, inputs = arrays[0].shape
    layer = _with(nn.Linear(inputs, outputs, bias=len(arrays) > 1), **dict(zip(('weight', 'bias'), arrays)))
    return nn.Sequential(nn.Flatten(), layer) if _flag(attributes, 'flatten', True) else layer


def _leaky_relu(attributes: Attributes, arrays: Sequence[np.ndarray]) -> nn.Module:
    kind, slope = attributes.get('act_type', 'leaky'), float(attributes.get('slope', '0.25'))
    if kind == 'prelu':
        return _with(nn.PReLU(arrays[0].size), weight=arrays[0].reshape(-1))
    return _choice({'leaky': lambda: nn.LeakyReLU(slope), 'elu': lambda: nn.ELU(slope)}, kind)


def _activation(attributes: Attributes, arrays: Sequence[np.ndarray]) -> nn.Module:
    return _choice(ACTIVATIONS, attributes['act_type'])


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    'relu': nn.ReLU,
    'sigmoid': nn.Sigmoid,
    'tanh': nn.Tanh,
    'softrelu': nn.Softplus,
    'softsign': nn.Softsign,
}


def _choice(table: Mapping[str, Callable[[], nn.Module]], kind: str) -> nn.Module:
    if kind not in table:
        raise ConfigError(f'{kind!r} has no module; there are {", ".join(table)}')
    return table[kind]()


def _pooling(attributes: Attributes, arrays: Sequence[np.ndarray]) -> nn.Module:
    kind = attributes.get('pool_type', 'max')
    if _flag(attributes, 'global_pool'):
        return _choice({'max': lambda: nn.AdaptiveMaxPool2d(1), 'avg': lambda: nn.AdaptiveAvgPool2d(1)}, kind)
    kernel, stride, pad = (
        _pair(attributes, key, default) for key, default in (('kernel', 1), ('stride', 1), ('pad', 0))
    )
    full = attributes.get('pooling_convention', 'valid') == 'full'
    padding_counts = _flag(attributes, 'count_include_pad', True)
    table: Mapping[str, Callable[[], nn.Module]] = {
        'max': lambda: nn.MaxPool2d(kernel, stride, pad, ceil_mode=full),
        'avg': lambda: nn.AvgPool2d(kernel, stride, pad, ceil_mode=full, count_include_pad=padding_counts),
    }
    return _choice(table, kind)


def _concat(attributes: Attributes, arrays: Sequence[np.ndarray]) -> Callable[..., torch.Tensor]:
    dim = int(attributes.get('dim', '1'))
    return lambda *parts: torch.cat(parts, dim)


def _dropout(attributes: Attributes, arrays: Sequence[np.ndarray]) -> nn.Module:
    return nn.Dropout(float(attributes.get('p', '0.5')))


def _scalar(compute: Callable[[torch.Tensor, float], torch.Tensor]) -> Rule:
    def rule(attributes: Attributes, arrays: Sequence[np.ndarray]) -> Callable[..., torch.Tensor]:
        scalar = float(attributes['scalar'])
        return lambda x: compute(x, scalar)

    return rule


def _plain(compute: Callable[..., torch.Tensor]) -> Rule:
    return lambda attributes, arrays: compute


RULES: Mapping[str, Rule] = {
    'Convolution': _convolution,
    'BatchNorm': _batch_norm,
    'FullyConnected': _fully_connected,
    'LeakyReLU': _leaky_relu,
    'Activation': _activation,
    'Pooling': _pooling,
    'Concat': _concat,
    'Dropout': _dropout,
    'Flatten': lambda attributes, arrays: nn.Flatten(),
    'Reshape': _reshape,
    'elemwise_add': _plain(operator.add),
    'elemwise_mul': _plain(operator.mul),
    'broadcast_add': _plain(operator.add),
    'broadcast_mul': _plain(operator.mul),
    '_plus_scalar': _scalar(operator.add),
    '_minus_scalar': _scalar(operator.sub),
    '_mul_scalar': _scalar(operator.mul),
    '_div_scalar': _scalar(operator.truediv),
}
