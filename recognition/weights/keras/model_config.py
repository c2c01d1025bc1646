"""The config that a Keras file may hold: which layers a model has, and how they are connected."""

from __future__ import annotations

import json
import re
from typing import Any, Iterator, List, Mapping, NamedTuple, Tuple


class Configured(NamedTuple):
    """A layer of a model's config: name, class in snake case, settings, and the names of the layers it is called on."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    inputs: Tuple[str, ...]


def read_config(text: Any) -> List[Configured]:
    """Return the layers of a model's config, a JSON text, in the order of `model.layers`.

    Raises what json and a look-up raise where the text is no such config.
    """
    config = json.loads(text)['config']
    layers = config if isinstance(config, list) else config['layers']  # a list: an old Sequential
    return [
        Configured(
            plain(str(layer['config']['name'])),
            snake(str(layer['class_name'])),
            layer['config'],
            tuple(_sources(layer.get('inbound_nodes', []))),
        )
        for layer in layers
    ]


def _sources(nodes: Any) -> Iterator[str]:
    """Yield the names in `inbound_nodes`: in Keras 3 under keras_history, before in lists [name, 0, 0, ...]."""
    if isinstance(nodes, dict):
        if 'keras_history' in nodes:
            yield plain(str(nodes['keras_history'][0]))
        else:
            yield from _sources(list(nodes.values()))
    elif isinstance(nodes, list):
        if len(nodes) > 1 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            yield plain(nodes[0])
        else:
            for node in nodes:
                yield from _sources(node)


def snake(name: str) -> str:
    """Return a class's name as Keras puts it into names: BatchNormalization is batch_normalization."""
    words = re.sub(r'(.)([A-Z][a-z]+)', r'\1_\2', name)
    return re.sub(r'([a-z])([A-Z])', r'\1_\2', words).lower()


def plain(name: str) -> str:
    """Return a layer's name as ours are: older DenseNets have conv1/conv."""
    return name.replace('/', '_')
