"""The config of a Keras model that computes what a symbol does, layer by layer, as Keras 3 puts it into `.keras` files.

Only what the networks of `symbols.keras_layers` are made of has a rule. Keras pads where our networks do: a padding
that is not 'same' is a ZeroPadding2D, which before a max pooling is right behind a relu alone, as in Keras's own.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from config.errors import CheckpointError
from recognition.checkpoint.layer_diff import PIXELS
from symbols.ir.flattening import flattens
from symbols.ir.nodes import Node, list_nodes, read_attribute
from symbols.ir.padding import SAME
from symbols.keras_layers import CLASSIFIER, KERAS_NAMES

import mxnet as mx

FUNCTIONAL = 'keras.src.models.functional'  # the module that Keras 3 itself names
INPUT = 'input_layer'
DEPTHWISE, POINTWISE = '_dw_weight', '_pw_weight'
CHANNELS_LAST = -1
PASSED = (
    *PIXELS,
    'Pad',
)  # pixels and paddings that a layer beside them does in Keras, as it does flattenings

Settings = Dict[str, Any]
Entry = Dict[str, Any]


class Built(NamedTuple):
    """What a node is in Keras: the layer that gives its output; what of a layer is still to come (`depthwise`)."""

    layer: str
    depthwise: Optional[Node] = None


class ModelConfig:
    """The layers of a model, one call after another, in the order of the symbol."""

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        image_shape: Sequence[int],
        order: Mapping[str, Sequence[str]],
        *,
        softmax: bool,
    ) -> None:
        """Take a symbol apart; order: our layers with weights, by Keras's class, as Keras orders them."""
        height, width, channels = image_shape
        self._softmax = softmax
        self._order = {
            kind: [KERAS_NAMES.get(ours, ours) for ours in layers] for kind, layers in order.items()
        }
        self._places = {name: place for names in self._order.values() for place, name in enumerate(names)}
        self.layers: List[Entry] = []
        self._nodes = list_nodes(symbol, {'data': (1, channels, height, width)})
        self._built: Dict[int, Built] = {}
        self._shapes: Dict[str, List[Optional[int]]] = {}  # of the layers' outputs
        self._add(INPUT, 'InputLayer', {'batch_shape': [None, *image_shape]}, [], [None, *image_shape])
        for index, node in enumerate(self._nodes):
            if node.is_variable:
                self._built[index] = Built(INPUT)
            else:
                self._built[index] = self._node(node)

    def as_json(self, name: str) -> Entry:
        """Return the config of the whole model; layers of a class that has weights are in Keras's order."""
        known = {entry['name']: entry for entry in self.layers}
        ordered = {kind: iter(names) for kind, names in self._order.items()}
        layers = [
            known[next(ordered[each['class_name']])] if each['class_name'] in ordered else each
            for each in self.layers
        ]
        last = self._built[len(self._nodes) - 1].layer
        inner = {
            'name': name,
            'trainable': True,
            'layers': layers,
            'input_layers': [INPUT, 0, 0],
            'output_layers': [last, 0, 0],
        }
        return {
            'module': FUNCTIONAL,
            'class_name': 'Functional',
            'config': inner,
            'registered_name': 'Functional',
        }

    def _node(self, node: Node) -> Built:
        before = self._built[node.inputs[0][0]]
        if node.operator in PASSED or flattens(node.operator, node.attributes):
            return before
        if node.operator == 'Convolution' and self._weight(node).endswith(DEPTHWISE):
            return Built(before.layer, node)
        rule = RULES.get(node.operator)
        if rule is None:
            raise CheckpointError(f'{node.name} is a {node.operator}, which has no rule for a model of Keras')
        return Built(rule(self, node))

    def _convolution(self, node: Node) -> str:
        before = self._built[node.inputs[0][0]]
        window = before.depthwise or node
        kind = 'SeparableConv2D' if before.depthwise else 'Conv2D'
        name = self._weight(node)[: -len(POINTWISE if before.depthwise else '_weight')]
        source, padding = self._padded(window, before.layer, name)
        settings: Settings = {
            'filters': read_attribute(node.attributes, 'num_filter'),
            'kernel_size': _pair(window, 'kernel'),
            'strides': _pair(window, 'stride'),
            'padding': padding,
            'use_bias': not read_attribute(node.attributes, 'no_bias', False),
        }
        return self._add(name, kind, settings, [source], _shape(node))

    def _pooling(self, node: Node) -> str:
        kind = {'max': 'Max', 'avg': 'Average'}[node.attributes['pool_type']]
        before = self._built[node.inputs[0][0]].layer
        if read_attribute(node.attributes, 'global_pool', False):
            return self._add(node.name, f'Global{kind}Pooling2D', {}, [before], _shape(node)[::3])
        source, padding = self._padded(node, before, node.name)
        settings = {'pool_size': _pair(node, 'kernel'), 'strides': _pair(node, 'stride'), 'padding': padding}
        return self._add(node.name, f'{kind}Pooling2D', settings, [source], _shape(node))

    def _padded(self, node: Node, before: str, name: str) -> Tuple[str, str]:
        """Return the layer to read, after a padding of its own where that is needed, and the layer's `padding`."""
        pads, source = _pair(node, 'pad'), self._nodes[node.inputs[0][0]]
        mirrored = (
            source.operator == 'reverse' and node.operator == 'Pooling'
        )  # as `symbols.layers.MaxPool` has it
        centred = _pair(node, 'stride') == [1, 1] and [2 * pad + 1 for pad in pads] == _pair(node, 'kernel')
        if mirrored or SAME.items() <= node.attributes.items() or (any(pads) and centred):
            return before, 'same'
        if not any(pads):
            return before, 'valid'
        batch, height, width, channels = self._shapes[before]
        shape = [batch, *(side and side + 2 * pad for side, pad in zip((height, width), pads)), channels]
        settings = {'padding': [[pad, pad] for pad in pads]}
        return self._add(f'{name}_pad', 'ZeroPadding2D', settings, [before], shape), 'valid'

    def _dense(self, node: Node) -> str:
        layer = self._weight(node)[: -len('_weight')]
        activation = 'softmax' if self._softmax and layer == CLASSIFIER else 'linear'
        settings = {'units': read_attribute(node.attributes, 'num_hidden'), 'activation': activation}
        return self._add(KERAS_NAMES.get(layer, layer), 'Dense', settings, self._sources(node), _shape(node))

    def _addition(self, node: Node) -> str:
        """Add the branches in the order of their last layers: by it goes Keras's order of layers of the same depth."""
        sources = self._sources(node)
        if all(source in self._places for source in sources):
            sources = sorted(sources, key=lambda source: self._places[source])
        return self._add(node.name, 'Add', {}, sources, _shape(node))

    def _weight(self, node: Node) -> str:
        return self._nodes[node.inputs[1][0]].name

    def _sources(self, node: Node) -> List[str]:
        return [self._built[index].layer for index, _ in node.inputs if not self._nodes[index].is_variable]

    def _add(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, Any],
        sources: Sequence[str],
        shape: List[Optional[int]],
    ) -> str:
        self._shapes[name] = shape
        tensors = [
            {
                'class_name': '__keras_tensor__',
                'config': {
                    'shape': self._shapes[source],
                    'dtype': 'float32',
                    'keras_history': [source, 0, 0],
                },
            }
            for source in sources
        ]
        calls: List[Entry] = (
            [{'args': tensors if len(tensors) == 1 else [tensors], 'kwargs': {}}] if tensors else []
        )
        self.layers.append(
            {
                'module': 'keras.layers',
                'class_name': kind,
                'config': {'name': name, **settings},
                'registered_name': None,
                'name': name,
                'inbound_nodes': calls,
            }
        )
        return name


def _shape(node: Node) -> List[Optional[int]]:
    """Return the shape of the output with the channels last and any number of images."""
    _, channels, *sides = node.output_shapes[0]
    return [None, *sides, channels]


def _pair(node: Node, key: str) -> List[int]:
    own = {'pad': (0, 0)}.get(key, (1, 1))
    return list(read_attribute(node.attributes, key) or own)


def _simple(
    kind: str, settings: Callable[[Node], Settings] = lambda node: {}
) -> Callable[[ModelConfig, Node], str]:
    def add(model: ModelConfig, node: Node) -> str:
        return model._add(node.name, kind, settings(node), model._sources(node), _shape(node))

    return add


def _batch_norm(node: Node) -> Settings:
    return {
        'epsilon': float(node.attributes['eps']),
        'momentum': float(node.attributes['momentum']),
        'axis': CHANNELS_LAST,
    }


# Operator of MXNet -> what adds Keras's layer for it.
RULES: Dict[str, Callable[[ModelConfig, Node], str]] = {
    'Convolution': ModelConfig._convolution,
    'FullyConnected': ModelConfig._dense,
    'Pooling': ModelConfig._pooling,
    'BatchNorm': _simple('BatchNormalization', _batch_norm),
    'Activation': _simple('Activation', lambda node: {'activation': node.attributes['act_type']}),
    'LeakyReLU': _simple('ELU', lambda node: {'alpha': read_attribute(node.attributes, 'slope', 1.0)}),
    'Dropout': _simple('Dropout', lambda node: {'rate': read_attribute(node.attributes, 'p', 0.5)}),
    'Concat': _simple('Concatenate', lambda node: {'axis': CHANNELS_LAST}),
    'elemwise_add': ModelConfig._addition,
}
