"""A whole network from a whole config: backbone, then the head that fits the backbone's last feature map."""

from __future__ import annotations

from typing import Any, Mapping

from config.errors import ConfigError
from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.heads import HEADS, FeatureMap, HeadSpec
from symbols.ir.shapes import infer_shapes
from symbols.layers import Norm

import mxnet as mx
from mxnet.gluon import HybridBlock

INPUT = 'data'


class Network(HybridBlock):
    """Embed RGB faces (N, 3, H, W) in 0..255 as (N, emb_size), not L2-normalised."""

    def __init__(self, backbone: HybridBlock, head: HybridBlock) -> None:
        super().__init__(prefix='')
        self.backbone = backbone
        self.head = head

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Backbone, then head."""
        return self.head(self.backbone(x))


def feature_map(backbone: HybridBlock, cfg: Mapping[str, Any]) -> FeatureMap:
    """Return the shape of the backbone's last feature map for the config's image_shape.

    Raises ConfigError when the image is too small for the backbone.
    """
    height, width, channels = cfg['image_shape']
    symbol = backbone(mx.sym.var(INPUT))
    try:
        (shape,) = infer_shapes(symbol, **{INPUT: (1, channels, height, width)}).outputs
    except ConfigError:
        shape = (1, 0, 0, 0)
    if not all(shape):
        raise ConfigError(
            f'image_shape={tuple(cfg["image_shape"])!r} is too small for net_name={cfg["net_name"]!r}: '
            'nothing is left of it at the last stage; faces are 112x112'
        )
    return FeatureMap(*shape[1:])


def build(cfg: Mapping[str, Any]) -> Network:
    """Build the network of a whole, checked config (`config.complete`)."""
    backbone = BACKBONES.get(cfg['net_name'])(cfg)
    spec = HeadSpec(
        features=feature_map(backbone, cfg),
        emb_size=cfg['emb_size'],
        num_classes=cfg['num_classes'],
        norm=Norm().configured(cfg),
        act=Act(cfg['net_act']),
        head_channels=cfg['head_channels'],
    )
    net = Network(backbone, HEADS.get(cfg['net_output'])(spec))
    if cfg['kernel_l2'] is not None:
        _decay_kernels_alone(net, 2 * cfg['kernel_l2'] / cfg['wd'] if cfg['kernel_l2'] else 0.0)
    return net


def _decay_kernels_alone(net: HybridBlock, factor: float) -> None:
    """Give the convolution and dense weights this share of the weight decay, and nothing else any.

    A penalty of l2 * sum(w * w) has the gradient 2 * l2 * w, and weight decay adds wd * wd_mult * w to it.
    """
    for name, parameter in net.collect_params().items():
        parameter.wd_mult = factor if name.endswith('_weight') else 0.0
