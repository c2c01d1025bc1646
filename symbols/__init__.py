"""Face-embedding networks for MXNet Gluon, in the InsightFace layout.

    from symbols import get_block, get_symbol
    symbol = get_symbol()   # of the central config; or get_symbol(resolve('r50', net_act='relu'))
    net = get_block(cfg)    # the same network as a HybridBlock, with the same parameter names

The blocks that articles build networks of are in the families' files: `symbols.keras_densenet.dense_block`,
`symbols.plain_densenet.DenseBlock`, `symbols.keras_resnet.identity_block`, `symbols.xception.res_block` and so on, with
the articles' arguments, where the channels of `x` are given in place of `x`.

This file alone reads the central config; below it values are passed.
"""

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from symbols.shadowed_config import check_packages

check_packages()

from config.compat import load_mxnet  # noqa: E402

load_mxnet()

import config as _config  # noqa: E402
from symbols import network  # noqa: E402
from symbols.activations import ACTIVATIONS  # noqa: E402
from symbols.backbones import BACKBONES  # noqa: E402
from symbols.heads import HEADS  # noqa: E402

import mxnet as mx  # noqa: E402  (numpy must be made fit first)
from mxnet.gluon import HybridBlock  # noqa: E402

__all__ = ['get_block', 'get_symbol', 'list_activations', 'list_backbones', 'list_heads']


def get_block(cfg: Optional[Mapping[str, Any]] = None) -> HybridBlock:
    """Return the network of `cfg` (the central config when None) as a HybridBlock, not initialised.

    Input: RGB images (N, 3, H, W), float32 in 0..255, of the config's image_shape; the normalisation is inside.
    Output: embeddings (N, emb_size), not L2-normalised ('pool': (N, channels of the last map); 'bn_dropout', 'map': a
    feature map; 'classifier': logits).
    `cfg` is what `resolve` returns, InsightFace's own EasyDict, or a plain dict; missing keys have their default.
    Raises ConfigError for a config from which no network can be built.
    """
    return network.build(_config.complete(_config.config if cfg is None else cfg))


def get_symbol(cfg: Optional[Mapping[str, Any]] = None) -> mx.sym.Symbol:
    """Return the network of `cfg` (the central config when None) as a symbol with input `data`, output `fc1_output`.

    Arguments, shapes, errors as in `get_block`; the names are InsightFace's and the same at every call.
    """
    return get_block(cfg)(mx.sym.var(network.INPUT))


def list_backbones() -> List[str]:
    """Return the names of the backbone families (`net_name`)."""
    return BACKBONES.names()


def list_heads() -> List[str]:
    """Return the long names of the heads (`net_output`)."""
    return HEADS.names()


def list_activations() -> List[str]:
    """Return the names of the activations (`net_act`)."""
    return ACTIVATIONS.names()
