"""What stands before the first stage: the input's normalisation and the stems for faces."""

from __future__ import annotations

from typing import Any, Mapping

from symbols.activations import Act
from symbols.layers import BatchNorm, Conv, Norm, Size

from mxnet.gluon import HybridBlock


class PixelNorm(HybridBlock):
    """(x - input_mean) * input_scale, of images of any shape, so that a network takes them in 0..255.

    InsightFace's is (x - 127.5) * 0.0078125, from -0.996 to 0.996. With mean 0 and scale 1 nothing is done.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        self._mean, self._scale = cfg['input_mean'], cfg['input_scale']

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Normalise."""
        if self._mean != 0:
            x = F._internal._minus_scalar(x, scalar=self._mean, name='data_centred')
        if self._scale != 1:
            x = F._internal._mul_scalar(x, scalar=self._scale, name='data_scaled')
        return x


class Stem(HybridBlock):
    """Input normalisation, convolution `conv0`, batch norm, activation, (N, C, H, W) to (N, channels, H', W').

    For faces the convolution is a 3x3 of stride 1: 112x112 is too small to be halved twice before the first stage.
    """

    def __init__(
        self,
        pixels: HybridBlock,
        in_channels: int,
        channels: int,
        norm: Norm,
        act: Act,
        *,
        kernel: Size = 3,
        stride: Size = 1,
    ) -> None:
        super().__init__(prefix='')
        self.pixels = pixels
        self.conv = Conv('conv0', in_channels, channels, kernel, stride=stride)
        self.bn = BatchNorm('bn0', channels, norm)
        self.act = act('relu0', channels)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Normalise, convolve, normalise, activate."""
        return self.act(self.bn(self.conv(self.pixels(x))))
