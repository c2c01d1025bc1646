"""The networks that are measured: a preset with drawn values, under which signals neither vanish nor grow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Tuple

import numpy as np

from config import resolve
from symbols import get_symbol
from symbols.audit.core import audit
from symbols.ir.rewriter import describe
from symbols.ir.shapes import infer_shapes
from symbols.passes.prelu import as_operators, find_prelus

import mxnet as mx

Values = Dict[str, np.ndarray]
STATISTICS = ('_mean', '_beta', '_bias')
SLOPES, FACTORS = (0.0, 0.5), (0.5, 1.5)  # of PReLU; of batch norms, and their variances


@dataclass(frozen=True)
class Drawn:
    """A network of this project and its values by name.

    symbol: with PReLU as InsightFace has it; own: as `get_symbol` gives it. shape: (C, H, W) of an image. flops: of one
    image, a multiply-accumulate being two.
    """

    cfg: Any
    symbol: mx.sym.Symbol
    own: mx.sym.Symbol
    values: Values
    shape: Tuple[int, int, int]
    flops: int

    def faces(self, batch: int) -> np.ndarray:
        """Return the same random uint8 images (batch, H, W, C) at every call."""
        channels, height, width = self.shape
        return np.random.default_rng(1).integers(0, 256, (batch, height, width, channels), np.uint8)


def draw_network(name: str, settings: Mapping[str, Any], *, dropout: bool = True) -> Drawn:
    """Return a preset with `settings` on top, and values that are the same at every call.

    dropout: False sets its rate to 0, so that all who train the network have the same losses. ConfigError as `resolve`.
    """
    cfg = resolve(name, **settings)
    own = get_symbol(cfg)
    if not dropout:
        own = _without_dropout(own)
    height, width, channels = cfg.image_shape
    shape = (channels, height, width)
    symbol = as_operators(own)
    macs = audit(symbol, {'data': (1, *shape)}).total.flops
    return Drawn(cfg, symbol, own, draw_values(symbol, shape), shape, 2 * macs)


def draw_values(symbol: mx.sym.Symbol, shape: Tuple[int, int, int]) -> Values:
    """Return float32 values of all parameters and auxiliary states by name; `shape` is (C, H, W) of an image."""
    inferred, graph = infer_shapes(symbol, data=(1, *shape)), describe(symbol)
    slopes = {graph['nodes'][prelu.slopes[0]]['name'] for prelu in find_prelus(graph).values()}
    rng, values = np.random.default_rng(0), {}
    for name, own in {**inferred.arguments, **inferred.auxiliary}.items():
        if name in slopes:
            value = rng.uniform(*SLOPES, own)
        elif name.endswith('_weight'):
            value = rng.standard_normal(own) / np.sqrt(np.prod(own[1:]))
        elif name.endswith(STATISTICS):
            value = 0.3 * rng.standard_normal(own)
        else:
            value = rng.uniform(*FACTORS, own)
        values[name] = value.astype(np.float32)
    values.pop('data', None)
    return values


def _without_dropout(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    graph = describe(symbol)
    for node in graph['nodes']:
        if node['op'] == 'Dropout':
            node['attrs']['p'] = '0'
    return mx.sym.load_json(json.dumps(graph))
