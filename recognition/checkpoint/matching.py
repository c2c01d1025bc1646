"""Given values against the parameters that a network wants: what fits, what does not, and putting it in.

Values are a dict by parameter name of arrays (NDArray or numpy), arguments and auxiliary states together, wherever
they come from: a checkpoint (`checkpoint.network`), Keras, PyTorch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from config.errors import CheckpointError, ConfigError, first_few
from symbols import get_block
from symbols.activations import Act
from symbols.heads import HEADS, FeatureMap, HeadSpec
from symbols.ir.shapes import infer_shapes
from symbols.layers import Norm

import mxnet as mx
from mxnet import gluon

CLASSIFIER = 'fc7_'  # InsightFace leaves the classifier's weights in the params of the embedding network
FLAT_AXES = 2  # of a dense layer's weight, whose second one follows from the size of the images
NAMED = 3  # how many parameters an error or a line of a report names
COUNTED = re.compile(r'^(densenet|mnasnet)\d+_')
GROUPED = (
    'conv_6dw7_7_conv2d_weight',
    'convf_weight',
)  # GDC's and SFC's convolution: depthwise, or head_channels

Shape = Tuple[int, ...]
Shapes = Mapping[str, Shape]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """How given values and the parameters of a network go together, by name.

    misshaped: name -> (shape of the value, shape that the network wants).
    """

    loaded: Tuple[str, ...] = ()
    missing: Tuple[str, ...] = ()  # the network's, without a value
    extra: Tuple[str, ...] = ()  # values, without a parameter of the network
    misshaped: Mapping[str, Tuple[Shape, Shape]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every parameter has its value and every value its parameter."""
        return not (self.missing or self.extra or self.misshaped)

    @property
    def faults(self) -> str:
        """Return what does not fit as the end of a sentence, and what may help; '' when all does."""
        told = [
            f'{words} {first_few(names, NAMED)}'
            for words, names in zip(('it lacks', 'it has also', 'it differs in'), self._named())
            if names
        ]
        return '; '.join(told) + self._hint()

    def text(self) -> str:
        """Return a line for each kind: how many there are and the first few names."""
        rows = zip(('missing', 'extra', 'misshaped'), self._named())
        lines = [f'{words:<9} {len(names):>5}  {first_few(names, NAMED)}' for words, names in rows if names]
        return '\n'.join([f'{"loaded":<9} {len(self.loaded):>5}', *lines])

    __str__ = text

    def _named(self) -> Tuple[Sequence[str], Sequence[str], Sequence[str]]:
        shapes = [f'{name} {held} instead of {wanted}' for name, (held, wanted) in self.misshaped.items()]
        return self.missing, self.extra, shapes

    def _hint(self) -> str:
        for name in GROUPED:
            held, wanted = self.misshaped.get(name, ((), ()))
            if len(held) > 1 and held[0] != wanted[0] and max(held[1], wanted[1]) > 1:
                groups = (
                    held[0] if held[1] > 1 else None
                )  # filters in groups, as InsightFace has 512, or depthwise
                return f'; with head_channels={groups} the head is built so'
        pairs = self.misshaped.values()
        if pairs and all(len(one) == len(other) == FLAT_AXES and one[0] == other[0] for one, other in pairs):
            return '; with another --image-size HEIGHT,WIDTH (image_shape) it may fit'
        return ''


def compare(wanted: Shapes, held: Values) -> Report:
    """Compare values with wanted shapes, both by name."""
    shapes = {name: (tuple(held[name].shape), tuple(wanted[name])) for name in wanted if name in held}
    return Report(
        loaded=tuple(name for name, (has, wants) in shapes.items() if has == wants),
        missing=tuple(name for name in wanted if name not in held),
        extra=tuple(name for name in held if name not in wanted),
        misshaped={name: pair for name, pair in shapes.items() if pair[0] != pair[1]},
    )


def require(report: Report, *, source: object, target: object) -> None:
    """Raise CheckpointError, naming what is missing, extra or misshaped, unless the report is ok."""
    if not report.ok:
        raise CheckpointError(f'{source} does not fit {target}: {report.faults}')


def wanted_shapes(
    symbol: mx.sym.Symbol, image_shape: Sequence[int] = (112, 112, 3), *, target: object = 'the network'
) -> Dict[str, Shape]:
    """Return the shape of every argument and auxiliary state of a symbol but `data`, for images (H, W, C).

    Raises CheckpointError when the symbol has no input `data` or takes no images of that size.
    """
    height, width, channels = image_shape
    if 'data' not in symbol.list_arguments():
        raise CheckpointError(
            f"{target} has no input 'data'; its inputs are {symbol.list_arguments()[:NAMED]}"
        )
    try:
        shapes = infer_shapes(symbol, data=(1, channels, height, width))
    except ConfigError as error:
        raise CheckpointError(f'{target} takes no images of {height}x{width}x{channels}: {error}') from error
    wanted = {**shapes.arguments, **shapes.auxiliary}
    del wanted['data']
    return wanted


def check_finite(values: Values, names: Iterable[str], source: object) -> None:
    """Raise CheckpointError where one of the named values holds a number that is not finite."""
    damaged = [name for name in names if not np.isfinite(as_numpy(values[name])).all()]
    if damaged:
        raise CheckpointError(f'{source} has values that are not finite in {first_few(damaged, NAMED)}')


def as_numpy(value: Any) -> np.ndarray:
    """Return an NDArray or a numpy array as the latter."""
    return value if isinstance(value, np.ndarray) else np.asarray(value.asnumpy())


def check_fit(
    symbol: mx.sym.Symbol,
    values: Values,
    *,
    image_shape: Sequence[int] = (112, 112, 3),
    source: object = 'the checkpoint',
    target: object = 'the network',
) -> None:
    """Raise CheckpointError unless the values are the parameters of `symbol` by name and shape.

    `image_shape` is (H, W, 3). Parameters of an `fc7` layer may be left over, as InsightFace leaves them.
    """
    wanted = wanted_shapes(symbol, image_shape, target=target)
    held = {
        name: value for name, value in values.items() if name in wanted or not name.startswith(CLASSIFIER)
    }
    require(compare(wanted, held), source=source, target=target)


def without_classifier(values: Values) -> Dict[str, Any]:
    """Return the values, by the names that they have here, but those of an `fc7` layer."""
    return {own_name(name): value for name, value in values.items() if not name.startswith(CLASSIFIER)}


def own_name(name: str) -> str:
    """Return a name of InsightFace's as it is here, where no name depends on what the process built before.

    Its second DenseNet in a process begins with `densenet1_`, its first, and every one here, with `densenet0_`.
    """
    return COUNTED.sub(r'\g<1>0_', name)


def load_weights(
    net: gluon.Block,
    values: Values,
    *,
    strict: bool = True,
    image_shape: Sequence[int] = (112, 112, 3),
    ctx: Any = None,
    source: object = 'the weights',
    target: object = 'the network',
) -> Report:
    """Give a network (`get_block`, `wrap_symbol`) the values that fit its parameters, and report on all of them.

    Values of an `fc7` layer are not looked at. Parameters without a fitting value stay as they are: initialise them
    before or after. `image_shape` (H, W, 3) is needed where the block does not know its shapes, as one made of a
    symbol; `ctx` is where a parameter goes that is not initialised yet.

    Raises CheckpointError, before anything is changed, where `strict` and something does not fit, or nothing does.
    """
    values = without_classifier(values)
    report = compare(_shapes_of(net, image_shape, target), values)
    if strict:
        require(report, source=source, target=target)
    elif not report.loaded:
        raise CheckpointError(f'{source} has nothing that fits {target}: {report.faults}')
    check_finite(values, report.loaded, source)
    set_parameters(net, {name: values[name] for name in report.loaded}, ctx)
    return report


def set_parameters(block: gluon.Block, values: Values, ctx: Any = None) -> None:
    """Give each parameter that has a value of its name that value, which must fit; others stay as they are."""
    for name, parameter in block.collect_params().items():
        if name in values:
            parameter.shape = tuple(values[name].shape)
            value = mx.nd.array(values[name], dtype=parameter.dtype)
            if parameter._data is None:
                # as Gluon's load_parameters does it: first values would take longer than these
                parameter._load_init(value, ctx or mx.context.current_context())
            else:
                parameter.set_data(value)


def _shapes_of(net: gluon.Block, image_shape: Sequence[int], target: object) -> Dict[str, Shape]:
    known = {name: parameter.shape for name, parameter in net.collect_params().items()}
    if all(shape is not None and all(size > 0 for size in shape) for shape in known.values()):
        return known
    return wanted_shapes(net(mx.sym.var('data')), image_shape, target=target)


class Parts(NamedTuple):
    """The parameters of a network by part, name -> shape, and the backbone as a symbol."""

    backbone: Dict[str, Shape]
    head: Dict[str, Shape]
    body: mx.sym.Symbol


def parts_of(cfg: Mapping[str, Any]) -> Parts:
    """Return what belongs to the backbone and what to the head in the network of a config."""
    net = get_block(cfg)
    backbone, head = (
        {name: parameter.shape for name, parameter in part.collect_params().items()}
        for part in (net.backbone, net.head)
    )
    return Parts(backbone, head, net.backbone(mx.sym.var('data')))


@cache
def head_names() -> FrozenSet[str]:
    """Return the names of the parameters that any head has, at any width."""
    names: List[str] = []
    for head in HEADS.names():
        for width in (1, 3):  # narrower and wider than the map of two channels, which GNAP tells apart
            spec = HeadSpec(FeatureMap(2, 7, 7), width, width, Norm(), Act('prelu'))
            names += HEADS.get(head)(spec).collect_params()
    return frozenset(names)


def only_head_differs(report: Report, own: Parts) -> bool:
    """Whether all that a report on a whole network finds amiss belongs to heads, so that the body alone would fit."""
    faulty = {*report.missing, *report.extra, *report.misshaped}
    return bool(faulty) and faulty <= {*own.head, *head_names()} - set(own.backbone)


WHOLE, BODY, FITTING = 'network', 'body', 'fitting'  # how much of given values a network takes


def load_part(
    net: gluon.Block,
    values: Values,
    cfg: Mapping[str, Any],
    part: str = WHOLE,
    *,
    source: object = 'the weights',
    target: object = 'the network',
) -> Report:
    """Give the network of `cfg`, which is initialised, the values that `part` names, and report on all of them.

    part: 'network', every parameter must fit; 'body', the backbone must fit and the head stays as it is; 'fitting',
    what fits. Values of an `fc7` layer are not looked at. Raises CheckpointError, before anything is changed, where
    something does not fit that must.
    """
    if part != BODY:
        return load_weights(
            net,
            values,
            strict=part == WHOLE,
            image_shape=cfg['image_shape'],
            source=source,
            target=target,
        )
    values = without_classifier(values)
    own = parts_of(cfg)
    left_out = [name for name in values if name in head_names() and name not in own.backbone]
    body = {name: value for name, value in values.items() if name not in left_out}
    report = compare(own.backbone, body)
    require(report, source=source, target=f'the backbone of {target}')
    check_finite(body, report.loaded, source)
    set_parameters(net, body)
    return Report(loaded=report.loaded, missing=tuple(own.head), extra=tuple(left_out))
