"""Small blocks that several families share."""

from __future__ import annotations

from typing import Any, List, Optional

from symbols.activations import Act
from symbols.layers import BatchNorm, Conv, Norm, Operator

from mxnet.gluon import HybridBlock, nn


class SqueezeExcite(HybridBlock):
    """Scale each channel by a gate in 0..1 of all channels' averages, (N, C, H, W) to the same shape.

    Hu et al. 2018, 'Squeeze-and-Excitation Networks', equations 2 to 4, with InsightFace's names `se_pool1`,
    `se_conv1` and so on; `act_name` is that of the inner activation, `reduction` the factor its width is less by.
    """

    def __init__(self, channels: int, act: Act, *, reduction: int = 16, act_name: str = 'se_relu1') -> None:
        super().__init__(prefix='')
        narrow = max(1, channels // reduction)
        self.gate = nn.HybridSequential(prefix='')
        # The kernel is not read where global_pool is set, but mxnet's shape inference demands one.
        self.gate.add(Operator('se_pool1', 'Pooling', global_pool=True, kernel=(7, 7), pool_type='avg'))
        self.gate.add(Conv('se_conv1', channels, narrow, 1, bias=True))
        self.gate.add(act(act_name, narrow))
        self.gate.add(Conv('se_conv2', narrow, channels, 1, bias=True))
        self.gate.add(Operator('se_sigmoid', 'Activation', act_type='sigmoid'))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Scale."""
        return F.broadcast_mul(x, self.gate(x), name='se_scaled')


def conv_norm_act(
    name: str,
    in_channels: int,
    channels: int,
    kernel: int,
    *,
    norm: Norm,
    act: Optional[Act],
    stride: int = 1,
    groups: int = 1,
    fix_gamma: bool = False,
) -> List[HybridBlock]:
    """Return a convolution `<name>_conv2d`, `<name>_batchnorm` and, where `act` is one, `<name>_relu`."""
    layers = [
        Conv(f'{name}_conv2d', in_channels, channels, kernel, stride=stride, groups=groups),
        BatchNorm(f'{name}_batchnorm', channels, norm, fix_gamma=fix_gamma),
    ]
    return layers if act is None else [*layers, act(f'{name}_relu', channels)]


def gluon_act(act: Act, index: int, channels: int, *, part: str = '') -> HybridBlock:
    """Return an activation named as Gluon counts them: `<part>relu1`, and `<part>prelu1` whatever its slopes are."""
    kind = 'prelu' if act.kind.startswith('prelu') else act.kind
    return act(f'{part}{kind}{index}', channels)
