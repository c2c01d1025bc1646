"""What stands before the first stage: the input's normalisation and the stems for faces."""

from __future__ import annotations

from typing import Any, Mapping

from symbols.activations import Act
from symbols.layers import BatchNorm, Conv, Norm, Size

from mxnet.gluon import HybridBlock


class PixelNorm(HybridBlock):
    """(x - input_mean) * input_scale, of images of any size, so that a network takes them as RGB in 0..255.

    InsightFace's is (x - 127.5) * 0.0078125, from -0.996 to 0.996. With mean 0 and scale 1 nothing is done. Three
    numbers are those of the channels, in the order of the network's first layer: with input_order='bgr' the channels
    are reversed before.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(prefix='')
        self._mean, self._scale, self._order = cfg['input_mean'], cfg['input_scale'], cfg['input_order']

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Put the channels in order and normalise."""
        if self._order == 'bgr':
            x = F.reverse(x, axis=1, name='data_reversed')
        if isinstance(self._mean, tuple) or isinstance(self._scale, tuple):
            mean, scale = (
                each if isinstance(each, tuple) else (each,) * 3 for each in (self._mean, self._scale)
            )
            deviations = tuple(1 / factor for factor in scale)
            return F.image.normalize(x, mean=mean, std=deviations, name='data_normalised')
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
