"""Whether the model in a Keras file computes what our network does with the same weights.

A file that holds the model, not only its weights, says how its layers are connected. Two networks with the same names
and shapes may differ in that, and where Keras numbered the layers itself, so may the order in which they were built.
Not compared: dropout, padding but that of max poolings, and what comes after the classifier.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from config.errors import CheckpointError
from config.reading import refusing
from recognition.utils.files import PathLike
from recognition.weights.keras.model_config import Configured
from recognition.weights.keras.reader import shown

import mxnet as mx

INPUT = 'data'
INPUTS = 'inputs'  # what the number for a layer's inputs is made of
LONGEST_NAME = 40  # letters of an operation's name that an error shows
SHOWN_DEPTH = 4  # operations within each other that an error shows
LINEAR = 'linear'
GLOBAL_MAX = 'global max'
ZERO_PADDING = 'zero_padding2d'

# Keras's classes of layers without weights -> what they compute; None changes no value, or only the padding.
OPERATIONS: Dict[str, Callable[[Mapping[str, Any]], Optional[str]]] = {
    ZERO_PADDING: lambda settings: None,
    'dropout': lambda settings: None,
    'flatten': lambda settings: None,
    'activation': lambda settings: None if settings['activation'] == LINEAR else str(settings['activation']),
    're_lu': lambda settings: 'relu' if settings.get('max_value') is None else 'bounded relu',
    'elu': lambda settings: 'elu' if _plain_number(settings.get('alpha', 1.0)) == 1 else 'another elu',
    'softmax': lambda settings: 'softmax',
    'add': lambda settings: 'add',
    'concatenate': lambda settings: 'concat',
    'merge': lambda settings: {'sum': 'add'}.get(settings['mode'], settings['mode']),  # Keras 1
    'max_pooling2d': lambda settings: _max_pooling(settings['strides']),
    'average_pooling2d': lambda settings: 'avg',
    'global_average_pooling2d': lambda settings: 'avg',
    'global_max_pooling2d': lambda settings: GLOBAL_MAX,
    'dense': lambda settings: 'dense',  # the classifier, where another head takes its place
}

# The same of MXNet's operators.
OPERATORS: Dict[str, Optional[str]] = {
    'elemwise_add': 'add',
    'Concat': 'concat',
    'Flatten': None,
    'Reshape': None,  # of a dense layer's input
    'Dropout': None,
    'Pad': None,
    'reverse': None,  # of a pooling, with TensorFlow's padding
    '_minus_scalar': None,
    '_mul_scalar': None,
    '_image_normalize': None,
}
WEIGHTED = ('Convolution', 'FullyConnected', 'BatchNorm')
ENDINGS = ('_pw_weight', '_weight', '_gamma')
DEPTHWISE = '_dw_weight'  # the first half of a separable convolution, which is one layer of Keras's
PADDINGS = ('padding', 'border_mode')  # the second in Keras 1
PADDED = ' padded'
STRIDES = ('strides', 'subsample')  # the second in Keras 1


class Traits(NamedTuple):
    """What a layer does beside its weights; `inputs` is a number for what it is called on."""

    inputs: int
    strides: Tuple[int, ...]
    eps: Optional[float]


class Numbers:
    """A number for every expression; the same expression gets the same one, however the network was written."""

    def __init__(self) -> None:
        self._known: Dict[Tuple[Any, ...], int] = {}

    def of(self, operation: str, inputs: Sequence[Any]) -> int:
        """Return the number of an operation on numbered inputs, or that of a layer or of the input by its name."""
        ordered = sorted(inputs) if operation == 'add' else inputs
        return self._known.setdefault((operation, *ordered), len(self._known))

    def words(self, number: int, depth: int = SHOWN_DEPTH) -> str:
        """Return an expression in words, the inner ones of a deep one left out."""
        operation, *inputs = list(self._known)[number]
        if operation == 'layer':
            return str(inputs[0])
        inner = ', '.join(self.words(each, depth - 1) for each in inputs) if depth else '...'
        return inner if operation == INPUTS else f'{_plain_text(operation)}({inner})'


def check_graph(
    config: Sequence[Configured], ours: Mapping[str, str], symbol: mx.sym.Symbol, *, source: PathLike
) -> None:
    """Raise CheckpointError where a layer has other inputs, strides or another eps than here, naming it.

    `ours` has our layer for the names of Keras's. A class of layer that has no rule here is an error, too.
    """
    numbers = Numbers()
    mine = dict(_Symbol(symbol, numbers).traits())
    with refusing(source, CheckpointError):
        model = list(_Model(config, ours, numbers, source).traits())
    for name, theirs in model:
        own = mine[ours[name]]
        where = f'{source}: layer {shown(name)}'
        if theirs.eps != own.eps:
            raise CheckpointError(
                f'{where} has epsilon={theirs.eps} where {ours[name]} has {own.eps}; with bn_eps={theirs.eps} the '
                f'network is built so'
            )
        if theirs.strides != own.strides:
            raise CheckpointError(
                f'{where} has strides {theirs.strides} where {ours[name]} has {own.strides}'
            )
        if theirs.inputs != own.inputs:
            raise CheckpointError(
                f'{where} is connected otherwise than {ours[name]} is here: it reads {numbers.words(theirs.inputs)}, '
                f'and {ours[name]} reads {numbers.words(own.inputs)}'
            )


def _plain_text(operation: str) -> str:
    """Return an operation's name, which may be a file's own, as an error may print it."""
    return operation[:LONGEST_NAME].encode('unicode_escape').decode()


def _plain_number(value: Any) -> Any:
    """Return a number of a config, which Keras 2.12 wraps."""
    return value['config']['value'] if isinstance(value, dict) else value


def _max_pooling(strides: Sequence[Any]) -> str:
    return f'max with strides {" ".join(map(str, strides))}'


class _Model:
    """The config of a Keras model."""

    def __init__(
        self, config: Sequence[Configured], ours: Mapping[str, str], numbers: Numbers, source: PathLike
    ) -> None:
        self._layers = {layer.name: layer for layer in config}
        self._ours, self._numbers, self._source = ours, numbers, source
        self._known: Dict[str, int] = {}

    def traits(self) -> Iterator[Tuple[str, Traits]]:
        """Yield the layers with weights."""
        for name in self._layers:
            self._number(name)
        for name in self._ours:
            layer = self._layers[name]
            strides = next((layer.settings[key] for key in STRIDES if key in layer.settings), (1, 1))
            eps = layer.settings.get('epsilon')
            inputs = self._numbers.of(INPUTS, [self._known[source] for source in layer.inputs])
            yield name, Traits(inputs, tuple(strides), eps)

    def _number(self, name: str) -> int:
        """Return the number of a layer's output; a stack in place of recursion, for a file may nest at will."""
        waiting = [name]
        while waiting:
            layer = self._layers.get(waiting[-1])
            if layer is None or len(waiting) > len(self._layers):
                raise CheckpointError(
                    f'{self._source} is damaged: no way leads to its layer {shown(waiting[-1])}'
                )
            unknown = [source for source in layer.inputs if source not in self._known]
            if layer.name in self._ours or not unknown:
                self._known[layer.name] = self._output(layer)
                waiting.pop()
            else:
                waiting += unknown[:1]
        return self._known[name]

    def _output(self, layer: Configured) -> int:
        inputs = [self._known[source] for source in layer.inputs if source in self._known]
        if layer.name in self._ours:
            number = self._numbers.of('layer', [self._ours[layer.name]])
            activation = layer.settings.get('activation') or LINEAR
            return number if activation == LINEAR else self._numbers.of(str(activation), [number])
        if layer.kind == 'input_layer':
            return self._numbers.of('layer', [INPUT])
        if layer.kind not in OPERATIONS:
            raise CheckpointError(
                f'{self._source}: there is no rule for its layer {shown(layer.name)}, a {shown(layer.kind)}'
            )
        operation = OPERATIONS[layer.kind](layer.settings)
        if layer.kind == 'max_pooling2d':
            before = self._layers[layer.inputs[0]]
            same = 'same' in (layer.settings.get(key) for key in PADDINGS)
            operation = f'{operation}{PADDED if same or before.kind == ZERO_PADDING else ""}'
        return self._numbers.of(operation, inputs) if operation else inputs[0]


class _Symbol:
    """Our network, as MXNet's operators."""

    def __init__(self, symbol: mx.sym.Symbol, numbers: Numbers) -> None:
        self._nodes = json.loads(symbol.tojson())['nodes']
        self._numbers = numbers

    def traits(self) -> Iterator[Tuple[str, Traits]]:
        """Yield the layers with weights."""
        outputs: List[int] = []  # by node
        for node in self._nodes:
            attributes = node.get('attrs', {})
            weight = self._weight(node)
            if weight is None:
                outputs.append(
                    self._output(node, attributes, [outputs[index] for index, *_ in node['inputs']])
                )
                continue
            layer = next(weight[: -len(end)] for end in ENDINGS if weight.endswith(end))
            outputs.append(self._numbers.of('layer', [layer]))
            start = self._depthwise(node) or node
            strides = tuple(map(int, re.findall(r'\d+', start['attrs'].get('stride', '(1, 1)'))))
            eps = float(attributes['eps']) if node['op'] == 'BatchNorm' else None
            inputs = self._numbers.of(INPUTS, [outputs[start['inputs'][0][0]]])
            yield layer, Traits(inputs, strides, eps)

    def _depthwise(self, node: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
        """Return the node before, if it is the first half of a separable convolution."""
        before = self._nodes[node['inputs'][0][0]]
        return before if (self._weight(before) or '').endswith(DEPTHWISE) else None

    def _weight(self, node: Mapping[str, Any]) -> Optional[str]:
        """Return the name of the weight of a layer that has one."""
        if node['op'] not in WEIGHTED:
            return None
        return str(self._nodes[node['inputs'][1][0]]['name'])

    def _output(self, node: Mapping[str, Any], attributes: Mapping[str, str], inputs: List[int]) -> int:
        if node['op'] == 'null':
            return self._numbers.of('layer', [node['name']])
        if node['op'] in OPERATORS:
            operation = OPERATORS[node['op']]
        elif node['op'] == 'Pooling':
            operation = attributes['pool_type']
            if operation == 'max':
                operation = self._max_pooled(node, attributes)
        else:
            operation = attributes.get('act_type', node['op'])
        return self._numbers.of(operation, inputs) if operation else inputs[0]

    def _max_pooled(self, node: Mapping[str, Any], attributes: Mapping[str, str]) -> str:
        if attributes.get('global_pool') == 'True':
            return GLOBAL_MAX
        padded = self._nodes[node['inputs'][0][0]]['op'] == 'Pad' or re.search(
            '[1-9]', attributes.get('pad', '')
        )
        return f'{_max_pooling(re.findall(r"[0-9]+", attributes["stride"]))}{PADDED if padded else ""}'
