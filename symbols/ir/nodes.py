"""A symbol as a plain list of nodes with their shapes, which the audit and the pictures read."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
from dataclasses import dataclass
from math import prod
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union

from config.errors import CheckpointError, ConfigError, first_few, nearest
from config.reading import read_text, reading
from config.schema import LARGEST_ARRAY
from symbols.ir.labels import label_shapes
from symbols.ir.rewriter import Described, describe, from_graph
from symbols.ir.shapes import quiet, reason_of

import mxnet as mx

Attributes = Mapping[str, str]

Shape = Tuple[int, ...]
DAMAGE = 'is damaged or not the symbol of a network'
NAMED = 3  # how many variables an error names
SHORT = re.compile(r'operator (\S+): .*Invalid end for end=(-?\d+) as axis_size is (\d+)')
CUSTOM = re.compile(r'Cannot find custom operator (\S+)')
UNKNOWN = re.compile(r'Failed loading Op (.+) of type (\S+): ')


@dataclass(frozen=True)
class Node:
    """One operator or variable: `inputs` are (index of a node before it, which of its outputs)."""

    name: str
    operator: str  # 'null' for a variable, as in MXNet's json
    attributes: Mapping[str, str]
    inputs: Tuple[Tuple[int, int], ...]
    output_shapes: Tuple[Shape, ...]

    @property
    def is_variable(self) -> bool:
        """Whether the node is an input, a parameter or an auxiliary state."""
        return self.operator == 'null'


def read_attribute(attributes: Mapping[str, str], key: str, default: Any = None) -> Any:
    """Return an attribute as the Python value that its text spells, or as text where it spells none."""
    text = attributes.get(key)
    if text is None:
        return default
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def list_nodes(symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]]) -> Tuple[Node, ...]:
    """Return the nodes of a symbol in topological order, every output shape inferred.

    `shapes` gives the full shape, batch axis included, of the inputs by name. The order and the indices are
    those of `Symbol.tojson`. Raises ConfigError when a name is no variable of the symbol, the shapes are too
    few or contradict the graph, or a node's hidden output is read.
    """
    graph = describe(symbol)
    described = graph['nodes']
    internals = symbol.get_internals()
    counts = _visible_outputs(internals, described)
    _check_entries(graph, counts)
    outputs = iter(_infer_outputs(internals, described, shapes))
    nodes: List[Node] = []
    for entry, count in zip(described, counts):
        inputs = tuple((source, output) for source, output, *_ in entry['inputs'])
        own = tuple(next(outputs) for _ in range(count))
        nodes.append(Node(entry['name'], entry['op'], entry.get('attrs', {}), inputs, own))
    return tuple(nodes)


def _visible_outputs(internals: mx.sym.Symbol, described: Sequence[Dict[str, Any]]) -> List[int]:
    """Return how many of each node's outputs `get_internals` lists (batch norm hides its mean and variance).

    Names alone do not tell where one node ends, for two nodes may share one: an output that was already seen
    for this node starts the next.
    """
    listed = internals.list_outputs()
    counts, start = [], 0
    for entry in described:
        end = start + 1
        if entry['op'] != 'null':
            while end < len(listed) and internals[end].name == entry['name']:
                if listed[end] in listed[start:end]:
                    break
                end += 1
        counts.append(end - start)
        start = end
    return counts


def _infer_outputs(
    internals: mx.sym.Symbol, described: Sequence[Dict[str, Any]], shapes: Mapping[str, Sequence[int]]
) -> List[Shape]:
    arguments = internals.list_arguments()
    _check_names(shapes, arguments, described)
    given = {name: tuple(shape) for name, shape in shapes.items()}
    given.update(label_shapes(internals, described, given))
    try:
        with quiet():
            _, outputs, _ = internals.infer_shape(**given)
            if outputs is not None:
                return [tuple(shape) for shape in outputs]
            partial_arguments, partial_outputs, _ = internals.infer_shape_partial(**given)
    except mx.MXNetError as error:
        reason = reason_of(error)
        cut = SHORT.search(reason)
        if cut:
            reason = (
                f'{cut[1]} takes a slice that ends at {cut[2]} of an axis of {cut[3]}; where a loss of triplets slices '
                'the batch, give the batch size that it was made for (--shape), or a layer before it (--output-layer)'
            )
        raise ConfigError(f'the shapes {_text(shapes)} do not fit the graph: {reason}') from error
    unknown = [name for name, shape in zip(arguments, partial_arguments) if not _known(shape)]
    if unknown:
        data = [name for name in data_variables(described) if name in unknown]
        raise ConfigError(
            f'the shapes given ({_text(shapes)}) leave {_some(data or unknown)} without a shape; '
            'give the shape of every input'
        )
    stuck = [name for name, shape in zip(internals.list_outputs(), partial_outputs) if not _known(shape)]
    raise ConfigError(f'the shape of {_some(stuck)} is known only when the network runs')


def _check_names(
    shapes: Mapping[str, Sequence[int]], arguments: Sequence[str], described: Sequence[Dict[str, Any]]
) -> None:
    for name, shape in shapes.items():
        if name not in arguments:
            hint = nearest(name, arguments) or f'; its inputs may be {_some(data_variables(described))}'
            raise ConfigError(f'the symbol has no input {name!r}{hint}')
        check_shape(name, shape)


def check_shape(name: str, shape: Sequence[int]) -> None:
    """Raise ConfigError for the shape of an input that no array can have."""
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise ConfigError(f'the shape of {name!r} must be positive whole numbers, not {tuple(shape)}')
    if prod(shape) > LARGEST_ARRAY:
        raise ConfigError(
            f'the shape {tuple(shape)} of {name!r} has {prod(shape)} values, and MXNet takes {LARGEST_ARRAY}'
        )


def data_variables(described: Sequence[Dict[str, Any]]) -> List[str]:
    """Return the variables that some operator reads as its first input, as data usually is."""
    first = {entry['inputs'][0][0] for entry in described if entry['inputs']}
    return [entry['name'] for i, entry in enumerate(described) if entry['op'] == 'null' and i in first]


def _known(shape: Any) -> bool:
    return bool(shape) and prod(shape) > 0


def _some(names: Sequence[str]) -> str:
    return first_few(map(repr, names), NAMED)


def _text(shapes: Mapping[str, Sequence[int]]) -> str:
    return ', '.join(f'{name} {tuple(shape)}' for name, shape in shapes.items()) or 'none'


def load_symbol(path: Union[str, os.PathLike[str]], wanted: Optional[str] = None) -> mx.sym.Symbol:
    """Read a symbol from a json file such as `prefix-symbol.json`.

    wanted: the node up to which it is read where it has an operator behind that, a loss say, that MXNet does not have.
    Raises CheckpointError when the file is missing, damaged or holds something else, and for such an operator.
    """
    if not os.path.exists(path):
        raise CheckpointError(f'{path} does not exist')
    with reading(path, CheckpointError, DAMAGE, _reason):
        graph = json.loads(read_text(path, CheckpointError))
        _check_order(graph)
        try:
            symbol = from_graph(graph)
            _check_entries(
                describe(symbol), _visible_outputs(symbol.get_internals(), describe(symbol)['nodes'])
            )
        except (ConfigError, mx.MXNetError) as error:
            lacks_operator = CUSTOM.search(str(error)) or UNKNOWN.search(str(error))
            part = _up_to(graph, wanted) if lacks_operator else None
            if part:
                with contextlib.suppress(mx.MXNetError):
                    return from_graph(part)
            _check_operators(path, graph, error)
            raise CheckpointError(f'{path} {DAMAGE}: {reason_of(error)}') from error
    return symbol


def _reason(error: BaseException) -> str:
    return f'it has no {error}' if isinstance(error, KeyError) else reason_of(error)


def variable_names(path: Union[str, os.PathLike[str]]) -> Set[str]:
    """Return the variables of a whole json file that `load_symbol` has read, in part or not."""
    with reading(path, CheckpointError, DAMAGE, _reason):
        nodes = json.loads(read_text(path, CheckpointError))['nodes']
        return {node['name'] for node in nodes if node['op'] == 'null'}


def _up_to(graph: Any, wanted: Optional[str]) -> Optional[Described]:
    """Return the part of a graph up to the first output of a node, None where there is none of that name."""
    names = [node['name'] for node in graph['nodes']] if wanted and isinstance(graph, dict) else []
    name = (wanted or '').removesuffix('_output')
    if name not in names:
        return None
    end = names.index(name)
    arguments = [number for number in graph['arg_nodes'] if number <= end]
    kept = {key: value for key, value in graph.items() if key != 'node_row_ptr'}
    head = [end, 0, *graph['heads'][0][2:]]
    return {**kept, 'nodes': graph['nodes'][: end + 1], 'arg_nodes': arguments, 'heads': [head]}


def _check_operators(path: object, graph: Any, error: Exception) -> None:
    """Raise CheckpointError where what MXNet says is that it does not have an operator of the graph."""
    custom, other = CUSTOM.search(str(error)), UNKNOWN.search(str(error))
    if custom:
        kind = custom[1]
        names = [node['name'] for node in graph['nodes'] if node['op'] == 'Custom' and kind in str(node)]
        what = f'a custom operator {kind}, which its Python module registers (mx.operator.register); '
        what += 'import that first, or'
    elif other:
        names, kind = [other[1]], other[2]
        what = f'an operator {kind}, which MXNet {mx.__version__} does not have;'
    else:
        return
    raise CheckpointError(
        f'{path}: {names[0]!r} is {what} save the symbol up to the layer before it'
    ) from error


def _check_order(graph: Dict[str, Any]) -> None:
    """Raise ValueError where MXNet would follow an index out of the graph, and crash the process."""
    count = len(graph['nodes'])
    for index, node in enumerate(graph['nodes']):
        if any(not 0 <= entry[0] < index for entry in node['inputs']):
            raise ValueError(f'{node["name"]!r} reads from a node that does not come before it')
    if not graph['heads']:
        raise ValueError('it has no output')
    if any(not 0 <= entry[0] < count for entry in graph['heads']):
        raise ValueError('its outputs are not among its nodes')
    if any(not 0 <= index < count for index in graph['arg_nodes']):
        raise ValueError('its inputs are not among its nodes')


def _check_entries(graph: Dict[str, Any], counts: Sequence[int]) -> None:
    """Raise ConfigError where an output is read that its node does not have, or hides.

    MXNet crashes the process over the one, and lists no shape of the other. `counts` are of visible outputs.
    """
    readers: List[Tuple[str, Any]] = [
        (node['name'], entry) for node in graph['nodes'] for entry in node['inputs']
    ]
    readers += [('the output', entry) for entry in graph['heads']]
    for reader, (source, output, *_) in readers:
        if not 0 <= output < counts[source]:
            raise ConfigError(
                f'{reader!r} reads output {output} of {graph["nodes"][source]["name"]!r}, which has fewer'
            )


def flag(attributes: Attributes, key: str, default: bool) -> bool:
    """Return a boolean operator attribute, which MXNet writes as 'True', 'true' or '1'."""
    return attributes.get(key, str(default)).lower() in ('true', '1')
