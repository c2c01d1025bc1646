"""Batch norms folded into the layers beside them: the same network for inference, with fewer operators.

With its moving statistics a batch norm is an affine map a * x + b of each channel, as is a product with a constant
(b = 0). Linear layers (Convolution, FullyConnected) take it in, one of three ways:

- the one that makes x, if nothing else reads x;
- all that read a * x + b, if none of them pads its input: padding the map with 0 is not padding x with 0;
- where some pad, and x is a sum that residual connections carry: what makes x adds b / a, which the other readers of x
  take off again, and those that read a * (x + b / a) take a. Zeros around that are zeros around the batch norm.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np

from symbols.ir.flattening import flattens
from symbols.ir.nodes import list_nodes
from symbols.ir.rewriter import Described, Draft, Entry, Moved, Rule, describe, rewrite
from symbols.passes.affine import Affine, Linear, read_affine, read_linear

import mxnet as mx

FARTHEST = 1e3  # a sum is not shifted by more: float32 would lose too many of its digits
PASSED = ('Dropout', 'identity', '_copy')  # leave an affine map of channels one, as flattening does
SUM = 'elemwise_add'
OUTSIDE = -1  # the reader of what the symbol gives

Values = Mapping[str, np.ndarray]


def fold_norms(
    symbol: mx.sym.Symbol, values: Values, shapes: Mapping[str, Sequence[int]]
) -> Tuple[mx.sym.Symbol, Dict[str, np.ndarray]]:
    """Return a symbol that computes the same with as few batch norms as it can, and its values, float32 by name.

    shapes: of the inputs by name. A layer keeps the names of its parameters, gains a bias where it needs one, and has
    the name of the last batch norm that it took in, whose output it now gives. Parameters that several layers read
    stay as they are.
    """
    folding = _Folding(symbol, values, shapes)
    folding.run()
    folded = rewrite(folding.graph, folding.rules())
    held = {**values, **folding.changed()}
    inputs = set(folded.list_inputs())
    return folded, {name: np.asarray(value, np.float32) for name, value in held.items() if name in inputs}


class _Folding:
    """A described graph with what each linear layer and each affine map has come to."""

    def __init__(self, symbol: mx.sym.Symbol, values: Values, shapes: Mapping[str, Sequence[int]]) -> None:
        self.graph: Described = describe(symbol)
        self._nodes = self.graph['nodes']
        channels = [node.output_shapes[0][1:2] for node in list_nodes(symbol, shapes)]
        self._instead: Dict[int, Entry] = {}  # what has been taken in -> where its output now comes from
        self._names: Dict[int, str] = {}
        self._readers = self._list_readers()
        shared = self._shared()
        self._linear: Dict[int, Linear] = {}
        self._affine: Dict[int, Affine] = {}
        for number, node in enumerate(self._nodes):
            read = [self._nodes[entry[0]] for entry in node['inputs']]
            names = [each['name'] for each in read]
            if shared.isdisjoint(names[1:]) and all(each['op'] == 'null' for each in read[1:]):
                self._read(number, names, values, channels[number])

    def _read(self, number: int, names: Sequence[str], values: Values, channels: Sequence[int]) -> None:
        linear = read_linear(self._nodes[number], names, values)
        affine = read_affine(self._nodes[number], names, values, channels)
        if linear is not None:
            self._linear[number] = linear
        if affine is not None:
            self._affine[number] = affine

    def _list_readers(self) -> Dict[Entry, List[int]]:
        readers: Dict[Entry, List[int]] = {}
        for number, node in enumerate(self._nodes):
            for entry in node['inputs']:
                readers.setdefault((entry[0], entry[1]), []).append(number)
        for entry in self.graph['heads']:
            readers.setdefault((entry[0], entry[1]), []).append(OUTSIDE)
        return readers

    def _shared(self) -> Set[str]:
        """Return the variables that have not exactly one reader."""
        return {
            self._nodes[number]['name']
            for (number, _), readers in self._readers.items()
            if self._nodes[number]['op'] == 'null' and len(readers) != 1
        }

    def run(self) -> None:
        """Fold whatever can be, in the order of the graph."""
        for number, node in enumerate(self._nodes):
            if node['op'] == 'Dropout':
                self._take_out(number)
        for way in (self._into_maker, self._into_readers, self._carried):
            for number in list(self._affine):
                if number not in self._instead and way(number, self._affine[number]):
                    self._take_out(number)

    def _source(self, number: int) -> Entry:
        """Return where the first input of a node comes from, past what has been taken out."""
        entry: Entry = (self._nodes[number]['inputs'][0][0], self._nodes[number]['inputs'][0][1])
        return self._past(entry)

    def _past(self, entry: Entry) -> Entry:
        while entry[0] in self._instead:
            entry = self._instead[entry[0]]
        return entry

    def _take_out(self, number: int) -> None:
        source = self._source(number)
        self._instead[number] = source
        own = self._readers.pop((number, 0), [])
        self._readers[source] = [each for each in self._readers[source] if each != number] + own

    def _into_maker(self, number: int, affine: Affine) -> bool:
        source = self._source(number)
        maker = self._linear.get(source[0])
        if maker is None or self._readers[source] != [number]:
            return False
        maker.scale_output(affine.scale)
        maker.shift_output(affine.offset)
        if self._nodes[number]['op'] == 'BatchNorm':
            self._names[source[0]] = self._nodes[number]['name']
        return True

    def _into_readers(self, number: int, affine: Affine) -> bool:
        readers = self._linear_readers((number, 0))
        if readers is None or (affine.offset.any() and any(each.padded for each in readers)):
            return False
        for each in readers:
            each.shift_input(affine.offset)
            each.scale_input(affine.scale)
        return True

    def _linear_readers(self, entry: Entry) -> Optional[List[Linear]]:
        """Return the linear layers that read an output, if nothing else does."""
        found: List[Linear] = []
        for reader in self._readers.get(entry, []):
            if reader in self._linear:
                found.append(self._linear[reader])
            elif reader != OUTSIDE and self._passes(self._nodes[reader]):
                further = self._linear_readers((reader, 0))
                if further is None:
                    return None
                found += further
            else:
                return None
        return found or None

    def _passes(self, node: Described) -> bool:
        return node['op'] in PASSED or flattens(node['op'], node.get('attrs', {}))

    def _carried(self, number: int, affine: Affine) -> bool:
        readers, source = self._linear_readers((number, 0)), self._source(number)
        if readers is None or not affine.scale.all():
            return False
        shift = affine.offset / affine.scale
        maker = self._maker(source)
        if maker is None or np.abs(shift).max() > FARTHEST:
            return False
        others = [self._compensation(each, source) for each in self._readers[source] if each != number]
        if None in others:
            return False
        maker.shift_output(shift)
        for compensate in filter(None, others):
            compensate(-shift)
        for each in readers:
            each.scale_input(affine.scale)
        return True

    def _maker(self, entry: Entry) -> Optional[Linear]:
        """Return the linear layer whose bias reaches this output unchanged."""
        if entry[0] in self._linear:
            return self._linear[entry[0]]
        if self._nodes[entry[0]]['op'] != SUM:
            return None
        summands = [self._past((read[0], read[1])) for read in self._nodes[entry[0]]['inputs']]
        own = [each for each in summands if each[0] in self._linear and len(self._readers[each]) == 1]
        return self._linear[own[0][0]] if own else None

    def _compensation(self, reader: int, entry: Entry) -> Optional[Callable[[np.ndarray], None]]:
        """Return what takes a shift of this output off again in one of its readers, if anything does."""
        if reader in self._linear and not self._linear[reader].padded:
            return self._linear[reader].shift_input
        if reader in self._affine and self._affine[reader].is_norm:
            return self._affine[reader].shift_input
        if reader == OUTSIDE or self._nodes[reader]['op'] != SUM:
            return None
        summands = [self._past((read[0], read[1])) for read in self._nodes[reader]['inputs']]
        other = [each for each in summands if each != entry]
        if len(other) != 1 or other[0][0] not in self._linear or len(self._readers[other[0]]) != 1:
            return None
        return self._linear[other[0][0]].shift_output

    def rules(self) -> Dict[int, Rule]:
        """Return what stands in the place of each node that has changed."""
        linear = {
            number: self._linear_rule(number, each) for number, each in self._linear.items() if each.changed
        }
        return {**linear, **{number: self._passing(number) for number in self._instead}}

    def _passing(self, number: int) -> Rule:
        first = self._nodes[number]['inputs'][0]
        return lambda draft, moved: moved(first)

    def _linear_rule(self, number: int, layer: Linear) -> Rule:
        node = self._nodes[number]

        def put(draft: Draft, moved: Moved) -> Entry:
            inputs = [moved(entry) for entry in node['inputs'][:2]]
            if layer.has_bias:
                inputs.append(draft.variable(layer.bias_name, {}))
            attributes = {**node['attrs'], 'no_bias': str(not layer.has_bias)}
            return draft.operator(node['op'], self._names.get(number, node['name']), inputs, **attributes)

        return put

    def changed(self) -> Dict[str, np.ndarray]:
        """Return the values, by name, that are others than before."""
        left = [each for number, each in self._affine.items() if number not in self._instead]
        held = [each.values() for each in self._linear.values()] + [each.values() for each in left]
        return {name: value for values in held for name, value in values.items()}
