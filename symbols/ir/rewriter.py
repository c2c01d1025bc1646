"""A symbol made anew, node by node, where a rule may put something else in the place of a node."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import mxnet as mx

Entry = Tuple[int, int]  # (node, which of its outputs)
Described = Dict[str, Any]  # a node, or a graph, as MXNet's json has it


class Draft:
    """A graph that is being made from a described one; what its outputs do not need falls away in the end."""

    def __init__(self, graph: Described) -> None:
        self._attributes = graph.get('attrs', {})  # the version that wrote it, after which MXNet reads it
        self._nodes: List[Described] = []
        self._variables: Dict[str, int] = {}

    def variable(self, name: str, attributes: Mapping[str, str]) -> Entry:
        """Return the variable of this name, which is made when it is asked for first."""
        if name not in self._variables:
            node = {'op': 'null', 'name': name, 'attrs': dict(attributes), 'inputs': []}
            self._variables[name] = self._add(node)
        return self._variables[name], 0

    def operator(self, op: str, name: str, inputs: Sequence[Entry], **attributes: str) -> Entry:
        """Add a node and return its first output."""
        read = [[*entry, 0] for entry in inputs]
        return self._add({'op': op, 'name': name, 'attrs': attributes, 'inputs': read}), 0

    def copy(self, node: Described, inputs: Sequence[Entry]) -> int:
        """Add a node as it is, but for what it reads; return its number."""
        if node['op'] == 'null':
            return self.variable(node['name'], node.get('attrs', {}))[0]
        versions = [rest for _, _, *rest in node['inputs']]
        return self._add({**node, 'inputs': [[*entry, *rest] for entry, rest in zip(inputs, versions)]})

    def symbol(self, outputs: Sequence[Entry]) -> mx.sym.Symbol:
        """Return what has been made, with these outputs."""
        graph = {
            'nodes': self._nodes,
            'arg_nodes': sorted(self._variables.values()),
            'heads': [[*entry, 0] for entry in outputs],
            'attrs': self._attributes,
        }
        return from_graph(graph)

    def _add(self, node: Described) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1


Moved = Callable[[Sequence[int]], Entry]  # an entry of the old graph -> where it stands in the draft
Rule = Callable[[Draft, Moved], Entry]  # adds what takes the place of a node's only output, and returns it


def replacement(op: str, name: str, inputs: Sequence[Sequence[int]], **attributes: str) -> Rule:
    """Return the rule that puts one operator in a node's place, which reads these entries of the old graph."""
    return lambda draft, moved: draft.operator(op, name, [moved(each) for each in inputs], **attributes)


def describe(symbol: mx.sym.Symbol) -> Described:
    """Return the graph as MXNet's json has it, its nodes in topological order."""
    graph: Described = json.loads(symbol.tojson())
    return graph


def attributes_by_name(symbol: mx.sym.Symbol) -> Dict[str, Dict[str, str]]:
    """Return the attributes of the nodes; mxnet's own attr_dict fails where a name has a $ in it."""
    return {node['name']: node['attrs'] for node in describe(symbol)['nodes'] if 'attrs' in node}


def from_graph(graph: Described) -> mx.sym.Symbol:
    """Return the symbol of a graph that is as MXNet's json has it."""
    return mx.sym.load_json(
        json.dumps(graph, ensure_ascii=False)
    )  # MXNet's reader knows no escapes such as \u00fc


def rewrite(graph: Described, rules: Mapping[int, Rule]) -> mx.sym.Symbol:
    """Return the symbol of a described graph, with the nodes of these numbers replaced by what their rules add."""
    draft = Draft(graph)
    copies: Dict[int, int] = {}
    instead: Dict[int, Entry] = {}

    def moved(entry: Sequence[int]) -> Entry:
        return instead[entry[0]] if entry[0] in instead else (copies[entry[0]], entry[1])

    for number, node in enumerate(graph['nodes']):
        rule: Optional[Rule] = rules.get(number)
        if rule is None:
            copies[number] = draft.copy(node, [moved(entry) for entry in node['inputs']])
        else:
            instead[number] = rule(draft, moved)
    return draft.symbol([moved(head) for head in graph['heads']])
