"""Initial values and learning-rate and decay factors for the parameters of a symbol, by their names.

A SymbolBlock knows no more of its parameters than their names: what the symbol says of them (`__init__`,
`__lr_mult__`, `__wd_mult__`, fix_gamma, which input is a PReLU slope) is read here and put back.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, Sequence, Set, Tuple

from config.errors import ConfigError
from symbols.ir.rewriter import attributes_by_name
from symbols.ir.shapes import infer_shapes

import mxnet as mx
from mxnet import gluon

# The residual networks' rule, which InsightFace uses for ResNet and MobileFaceNet, for every family.
WEIGHT = mx.init.Xavier(rnd_type='gaussian', factor_type='out', magnitude=2)
SLOPE = mx.init.Constant(0.25)
BY_SUFFIX: Tuple[Tuple[str, mx.init.Initializer], ...] = (
    ('weight', WEIGHT),
    ('gamma', mx.init.One()),
    ('beta', mx.init.Zero()),
    ('bias', mx.init.Zero()),
    ('mean', mx.init.Zero()),
    ('var', mx.init.One()),
    ('alpha', SLOPE),
)
DECAYED = ('_weight', '_gamma')  # as Module decides it; biases, betas and `_alpha` slopes are not pulled to 0


def prepare(block: gluon.SymbolBlock, symbol: mx.sym.Symbol, *, image_shape: Sequence[int], ctx: Any) -> None:
    """Give the parameters of a wrapped symbol their shapes, first values and factors.

    image_shape: (H, W, 3). The values depend on `mx.random.seed` alone. The gamma of a batch norm with fix_gamma
    stays at 1. Raises ConfigError for images that the network cannot take.
    """
    height, width, channels = image_shape
    try:
        inferred = infer_shapes(symbol, data=(1, channels, height, width))
    except ConfigError as error:
        raise ConfigError(f'the network takes no images of {height}x{width}x{channels}: {error}') from error
    shapes = {**inferred.arguments, **inferred.auxiliary}
    attributes = attributes_by_name(symbol)
    fixed, slopes = _inputs_with_a_role(symbol)
    for name, parameter in block.collect_params().items():
        own = attributes.get(name, {})
        parameter.shape = shapes[name]
        parameter.lr_mult = float(own.get('__lr_mult__', 1.0))
        parameter.wd_mult = _decay_factor(name, own)
        if name in fixed:
            parameter.grad_req = 'null'
        init = mx.init.One() if name in fixed else initial_value(name, own, slope=name in slopes)
        parameter.initialize(init=init, ctx=ctx)


def initial_value(name: str, attributes: Dict[str, str], *, slope: bool = False) -> Any:
    """Return the initialiser of a parameter: the symbol's own, a PReLU slope's, or the one for its name."""
    own = attributes.get('__init__')
    if own and own != 'None':
        return mx.init.create(own)
    if slope:
        return SLOPE
    for suffix, init in BY_SUFFIX:
        if name.endswith(suffix):
            return init
    known = ', '.join(suffix for suffix, _ in BY_SUFFIX)
    raise ConfigError(f'the parameter {name!r} has no first value: its name must end with one of {known}')


def _decay_factor(name: str, attributes: Dict[str, str]) -> float:
    """Return the factor on weight decay: the symbol's own, or by name where it says nothing."""
    by_name = 1.0 if name.endswith(DECAYED) else 0.0
    return float(attributes.get('__wd_mult__', by_name))


def _inputs_with_a_role(symbol: mx.sym.Symbol) -> Tuple[Set[str], Set[str]]:
    """Return the names of the gammas that fix_gamma holds at 1, and of the slopes of PReLU nodes."""
    nodes = json.loads(symbol.tojson())['nodes']

    def second_inputs(op: str, key: str, value: str, default: str) -> Iterable[str]:
        for node in nodes:
            if node['op'] == op and node.get('attrs', {}).get(key, default) == value:
                yield nodes[node['inputs'][1][0]]['name']

    # an attribute that has its default value may be absent: fix_gamma is true by default
    fixed = {
        name for value in ('True', '1') for name in second_inputs('BatchNorm', 'fix_gamma', value, 'True')
    }
    return fixed, set(second_inputs('LeakyReLU', 'act_type', 'prelu', 'leaky'))
