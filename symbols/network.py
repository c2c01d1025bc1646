"""A whole network from a whole config: backbone, then the head that fits the backbone's last feature map."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Set, Tuple

from config.checks import CLASS_SCORES, output_kind
from config.errors import ConfigError, first_few
from config.keys import FAMILY_NAMES, HEAD_NAMES
from config.patterns import as_factors
from symbols.activations import Act
from symbols.backbones import BACKBONES
from symbols.heads import HEADS, FeatureMap, HeadSpec
from symbols.ir.kernels import dense_kernels, kernel_factors
from symbols.ir.padding import check_padding
from symbols.ir.shapes import infer_shapes
from symbols.layers import Norm

import mxnet as mx
from mxnet.gluon import HybridBlock

INPUT = 'data'
RESERVED = {INPUT: 'of the input', 'fc7': "of training's classifier"}
LARGE = 2**15  # height and width that every backbone takes
MAP_AXES = 4  # (N, C, H, W)


class Network(HybridBlock):
    """Embed RGB faces (N, 3, H, W) in 0..255 as (N, emb_size), not L2-normalised."""

    def __init__(self, backbone: HybridBlock, head: HybridBlock, *, same: bool = False) -> None:
        super().__init__(prefix='')
        self.backbone = backbone
        self.head = head
        self._same = same  # whether it pads as TensorFlow
        self._checked: Set[Tuple[int, ...]] = set()  # shapes of images

    def forward(self, x: Any, *args: Any) -> Any:
        """Refuse images that a convolution would pad otherwise than TensorFlow (`symbols.ir.padding`)."""
        if self._same and isinstance(x, mx.nd.NDArray) and x.shape[1:] not in self._checked:
            channels, *size = x.shape[1:]
            check_padding(self(mx.sym.var(INPUT)), (*size, channels))
            self._checked.add(x.shape[1:])
        return super().forward(x, *args)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Backbone, then head."""
        return self.head(self.backbone(x))


def feature_map(symbol: mx.sym.Symbol, cfg: Mapping[str, Any]) -> FeatureMap:
    """Return the shape of a backbone's last feature map for the config's image_shape.

    Raises ConfigError when the image is too small for the backbone, or the backbone gives something else for any image.
    """
    name, (height, width, channels) = cfg['net_name'], cfg['image_shape']
    try:
        outputs = infer_shapes(symbol, **{INPUT: (1, channels, height, width)}).outputs
    except ConfigError:
        _check_layers(symbol, name, channels)
        outputs = ((1, 0, 0, 0),)
    if [len(shape) for shape in outputs] != [MAP_AXES]:
        raise ConfigError(
            f'net_name={name!r} must end in one feature map (N, C, H, W), and gives {first_few(outputs)}'
        )
    if not all(outputs[0]):
        raise ConfigError(
            f'image_shape={tuple(cfg["image_shape"])!r} is too small for net_name={name!r}: '
            'nothing is left of it at the last stage; faces are 112x112'
        )
    return FeatureMap(*outputs[0][1:])


def _check_layers(symbol: mx.sym.Symbol, name: str, channels: int) -> None:
    """Raise ConfigError where the backbone takes no large image either: then its layers do not fit each other."""
    try:
        infer_shapes(symbol, **{INPUT: (1, channels, LARGE, LARGE)})
    except ConfigError as error:
        raise ConfigError(f'the layers of net_name={name!r} do not fit each other: {error}') from error


def check_names(parts: Mapping[str, mx.sym.Symbol]) -> None:
    """Raise ConfigError where two layers or parameters have one name, in one part of a network or in two.

    mxnet would take one for the other where it goes by names: in a checkpoint, in an initialiser, in an update.
    `parts` maps what a part is called to its symbol, whose input is INPUT.
    """
    owners: Dict[str, str] = {}
    twice: List[Tuple[str, str, str]] = []
    for part, symbol in parts.items():
        for kind, name in _named(symbol):
            if name in owners or name in RESERVED:
                twice.append((kind, name, part))
            owners.setdefault(name, part)
    if not twice:
        return
    kind, name, part = min(twice, key=lambda each: each[0])  # a layer before its parameters
    owner = owners[name]
    if name in RESERVED:
        raise ConfigError(
            f'{part} has a {kind} named {name!r}, which is the name {RESERVED[name]}; rename it'
        )
    if owner == part:
        raise ConfigError(f'{part} has two {kind}s named {name!r}; each needs a name of its own')
    raise ConfigError(f'{owner} and {part} both have a {kind} named {name!r}; rename one of them')


def _named(symbol: mx.sym.Symbol) -> Iterator[Tuple[str, str]]:
    """Yield ('layer' or 'parameter', its name) for each node but the input, by what the symbol calls their outputs."""
    for output in symbol.get_internals().list_outputs():
        name, suffix, number = output.rpartition('_output')
        if suffix and number in ('', '0'):  # a node with several outputs counts them
            yield 'layer', name
        elif not suffix and output != INPUT:
            yield 'parameter', output


def build(cfg: Mapping[str, Any]) -> Network:
    """Build the network of a whole, checked config (`config.complete`).

    Raises ConfigError for a classifier without a number of classes, and where two of its layers or parameters have one
    name.
    """
    if output_kind(cfg) == CLASS_SCORES and not cfg['num_classes']:
        raise ConfigError(
            f'num_classes=0 does not go with net_output={cfg["net_output"]!r}; say how many classes it has'
        )
    backbone = BACKBONES.get(cfg['net_name'])(cfg)
    body = backbone(mx.sym.var(INPUT))
    spec = HeadSpec(
        features=feature_map(body, cfg),
        emb_size=cfg['emb_size'],
        num_classes=cfg['num_classes'],
        norm=Norm().configured(cfg),
        act=Act(cfg['net_act']),
        head_channels=cfg['head_channels'],
        pool=cfg['net_pool'],
    )
    make_head = HEADS.get(cfg['net_output'])
    check_names(
        {
            f'the backbone {FAMILY_NAMES[cfg["net_name"]]!r}': body,
            # A head of its own: MXNet counts in a symbol's JSON how often a statistic was put into one.
            f'the head {HEAD_NAMES[cfg["net_output"]]!r}': make_head(spec)(mx.sym.var(INPUT)),
        }
    )
    net = Network(backbone, make_head(spec), same=cfg['padding'] == 'tf_same')
    if cfg['kernel_l2'] is not None:
        _decay_kernels_alone(net, cfg)
    return net


def _decay_kernels_alone(net: HybridBlock, cfg: Mapping[str, Any]) -> None:
    """Give the kernels the share of the weight decay that their L2 factors are, and nothing else any.

    A penalty of l2 * sum(w * w) has the gradient 2 * l2 * w, and weight decay adds wd * wd_mult * w to it.
    """
    parameters = net.collect_params()
    own, dense = as_factors(cfg['kernel_l2_factors']), dense_kernels(parameters)
    factors = kernel_factors(parameters, cfg['kernel_l2'], own, dense=dense)
    for name, parameter in parameters.items():
        parameter.wd_mult = 2 * factors[name] / cfg['wd'] if name in factors else 0.0
