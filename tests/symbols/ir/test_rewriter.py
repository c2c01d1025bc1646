"""Symbols made anew node by node."""

from __future__ import annotations

import json

import pytest

from config import resolve
from symbols import get_symbol
from symbols.ir.rewriter import describe, rewrite

import mxnet as mx


def graph_of(symbol):
    nodes = json.loads(symbol.tojson())['nodes']
    return [
        (node['op'], node['name'], node.get('attrs', {}), [entry[:2] for entry in node['inputs']])
        for node in nodes
    ]


@pytest.mark.parametrize('preset', ['r18', 'd121', 'y1'])
def test_without_rules_a_symbol_stays_what_it_is(preset):
    symbol = get_symbol(resolve(preset))
    copy = rewrite(describe(symbol), {})
    assert graph_of(copy) == graph_of(symbol)
    assert copy.list_auxiliary_states() == symbol.list_auxiliary_states()
    assert copy.list_outputs() == symbol.list_outputs()


def test_a_rule_puts_nodes_in_the_place_of_one_and_what_is_not_needed_falls_away():
    x = mx.sym.var('data')
    doubled = mx.sym.broadcast_add(mx.sym.sqrt(x, name='root'), x, name='sum')
    symbol = mx.sym.Group([mx.sym.negative(doubled, name='end'), doubled])
    graph = describe(symbol)
    number = next(i for i, node in enumerate(graph['nodes']) if node['name'] == 'sum')

    def rule(draft, moved):
        data = moved(graph['nodes'][number]['inputs'][1])
        return draft.operator('broadcast_mul', 'product', [data, draft.variable('scale', {})])

    made = rewrite(graph, {number: rule})
    assert made.list_arguments() == ['data', 'scale']
    assert made.list_outputs() == ['end_output', 'product_output']
    assert 'root' not in made.tojson()
    outputs = made.bind(mx.cpu(), {'data': mx.nd.array([3.0]), 'scale': mx.nd.array([2.0])}).forward()
    assert [each.asscalar() for each in outputs] == [-6.0, 6.0]


def test_outputs_of_nodes_with_several_keep_their_numbers():
    parts = mx.sym.split(mx.sym.var('data'), num_outputs=3, axis=0, name='parts')
    symbol = parts[2] - parts[0]
    data = {'data': mx.nd.array([1.0, 10.0, 100.0])}
    outputs = [
        each.bind(mx.cpu(), data).forward()[0].asscalar() for each in (symbol, rewrite(describe(symbol), {}))
    ]
    assert outputs == [99.0, 99.0]
