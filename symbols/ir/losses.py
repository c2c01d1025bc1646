"""Losses on top of a network: the labels that they read, and what is left of a symbol without them."""

from __future__ import annotations

from functools import partial
from typing import Callable, Container, Dict, Mapping, Optional, Sequence, Set

from symbols.ir.labels import label_names
from symbols.ir.nodes import flag
from symbols.ir.rewriter import Described, Draft, Entry, Moved, Rule, describe, from_graph, rewrite

import mxnet as mx

LOSS_VALUES = (
    'MakeLoss',
    'make_loss',
    'softmax_cross_entropy',
    'CTCLoss',
)  # what they give is the loss itself
FLAT = ('FullyConnected', 'Flatten')  # their outputs have two axes, as SoftmaxOutput takes any


def without_losses(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return a symbol with what each loss operator gives without a label in its place.

    That is a softmax for SoftmaxOutput, a sigmoid for LogisticRegressionOutput, and what they read for other ones.
    """
    graph = describe(symbol)
    rules: Dict[int, Rule] = {}
    for number, node in enumerate(graph['nodes']):
        if node['op'] in FORWARD:
            rules[number] = partial(FORWARD[node['op']], node, graph['nodes'])
    return rewrite(graph, rules) if rules else symbol


def predictions(
    symbol: mx.sym.Symbol, values: Container[str], images: Container[str]
) -> Optional[mx.sym.Symbol]:
    """Return the outputs of a symbol `without_losses` that are no loss, as a group; None where there are none.

    An output that is computed from labels is replaced by what its formula reads of the network: neither labels, nor
    parameters, `values`, alone. images: the inputs that are none of both.
    """
    graph = describe(symbol)
    nodes = graph['nodes']
    labels = {name for name in label_names(nodes) if name not in images and name not in values}
    of_labels = _depending(nodes, lambda name: name in labels)
    of_data = _depending(nodes, lambda name: name not in labels and name not in values)
    heads = [(head[0], head[1]) for head in graph['heads']]
    kept = [each for each in heads if each[0] not in of_labels and nodes[each[0]]['op'] not in LOSS_VALUES]
    if not kept:
        read = [(entry[0], entry[1]) for number in sorted(of_labels) for entry in nodes[number]['inputs']]
        kept = [each for each in read if each[0] in of_data - of_labels and nodes[each[0]]['op'] != 'null']
    graph['heads'] = [[*each, 0] for each in dict.fromkeys(kept)]
    return from_graph(graph) if kept else None


def _depending(nodes: Sequence[Described], chosen: Callable[[str], bool]) -> Set[int]:
    """Return the nodes that read one of the chosen variables, or what depends on it."""
    found: Set[int] = set()
    for number, node in enumerate(nodes):
        own = node['op'] == 'null' and chosen(node['name'])
        if own or any(entry[0] in found for entry in node['inputs']):
            found.add(number)
    return found


def _data(node: Described, nodes: Sequence[Described], draft: Draft, moved: Moved) -> Entry:
    return moved(node['inputs'][0])


def _softmax(node: Described, nodes: Sequence[Described], draft: Draft, moved: Moved) -> Entry:
    """Add a softmax over the axis that SoftmaxOutput takes: the channels, the last one, or all but the first."""
    attributes, source = node.get('attrs', {}), node['inputs'][0]
    if flag(attributes, 'multi_output', False):
        return draft.operator('softmax', node['name'], [moved(source)], axis='1')
    if flag(attributes, 'preserve_shape', False) or nodes[source[0]]['op'] in FLAT:
        return draft.operator('softmax', node['name'], [moved(source)], axis='-1')
    return draft.operator('SoftmaxActivation', node['name'], [moved(source)], mode='instance')


def _sigmoid(node: Described, nodes: Sequence[Described], draft: Draft, moved: Moved) -> Entry:
    return draft.operator('Activation', node['name'], [moved(node['inputs'][0])], act_type='sigmoid')


FORWARD: Mapping[str, Callable[[Described, Sequence[Described], Draft, Moved], Entry]] = {
    'SoftmaxOutput': _softmax,
    'LogisticRegressionOutput': _sigmoid,
    **dict.fromkeys(('LinearRegressionOutput', 'MAERegressionOutput', 'SVMOutput'), _data),
}
