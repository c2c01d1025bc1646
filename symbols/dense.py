"""What DenseNets have in common: the connection of a layer to all layers before it, and the published depths."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Tuple

from symbols.layers import scale_width

from mxnet.gluon import HybridBlock

BOTTLENECK = 4  # width of the 1x1 convolution in a dense layer, in growth rates
BLOCK = 16  # channels in a block of oneDNN's memory layout


class DenseSpec(NamedTuple):
    """Channels of the stem, channels that a dense layer adds, dense layers per stage; width of a 1x1 in growths."""

    init: int
    growth: int
    layers: Tuple[int, ...]
    bottleneck: int = BOTTLENECK

    def configured(self, cfg: Mapping[str, Any]) -> DenseSpec:
        """Return the numbers with those that the config has in place of the published ones, times net_multiplier."""
        given = {
            'init': cfg['densenet_init'],
            'growth': cfg['densenet_growth'],
            'layers': cfg['densenet_blocks'],
            'bottleneck': cfg['densenet_bottleneck'],
        }
        spec = self._replace(**{key: value for key, value in given.items() if value is not None})
        init, growth = (scale_width(width, cfg['net_multiplier']) for width in spec[:2])
        return spec._replace(init=init, growth=growth)


# Huang et al. 2017, 'Densely Connected Convolutional Networks', table 1; 161 is of their code (wider, k = 48).
DEPTHS = {
    121: DenseSpec(64, 32, (6, 12, 24, 16)),
    161: DenseSpec(96, 48, (6, 12, 36, 24)),
    169: DenseSpec(64, 32, (6, 12, 32, 32)),
    201: DenseSpec(64, 32, (6, 12, 48, 32)),
}


class Append(HybridBlock):
    """Append a branch's feature maps to its input, (N, C, H, W) to (N, C + growth, H, W): a DenseNet's connection.

    Huang et al. 2017, 'Densely Connected Convolutional Networks', equation 2.
    """

    def __init__(self, name: str, branch: HybridBlock, in_channels: int, growth: int) -> None:
        super().__init__(prefix='')
        self._node = name
        # oneDNN cannot split a gradient inside a block of channels ('could not construct a sub-memory'). All full
        # widths are whole blocks; for others the channels' axis is counted from the end, which mxnet does not hand
        # to oneDNN.
        self._axis = -3 if in_channels % BLOCK or growth % BLOCK else 1
        self.branch = branch

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Append the new features."""
        return F.concat(x, self.branch(x), dim=self._axis, name=self._node)
