"""What stands before the first stage: the input's normalisation and the stems for faces."""

from __future__ import annotations

from typing import Any

from symbols.layers import Act, BatchNorm, Conv, Norm

from mxnet.gluon import HybridBlock

CENTRE, SCALE = 127.5, 0.0078125  # InsightFace's: 0..255 becomes -0.996..0.996


class PixelNorm(HybridBlock):
    """(x - 127.5) / 128, so that every network takes images in 0..255, of any shape."""

    def __init__(self) -> None:
        super().__init__(prefix='')

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Normalise."""
        centred = F._internal._minus_scalar(x, scalar=CENTRE, name='data_centred')
        return F._internal._mul_scalar(centred, scalar=SCALE, name='data_scaled')


class FaceStem(HybridBlock):
    """3x3 convolution of stride 1, batch norm, activation, (N, C, H, W) to (N, channels, H, W).

    InsightFace's net_input=1: a 112x112 face is too small to be halved twice before the first stage.
    """

    def __init__(self, in_channels: int, channels: int, norm: Norm, act: Act) -> None:
        super().__init__(prefix='')
        self.pixels = PixelNorm()
        self.conv = Conv('conv0', in_channels, channels, 3)
        self.bn = BatchNorm('bn0', channels, norm)
        self.act = act('relu0', channels)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Normalise, convolve, normalise, activate."""
        return self.act(self.bn(self.conv(self.pixels(x))))
