"""How much memory a network's activations take at once, in inference and in training, by who still needs them.

The order is that of the graph: an operator's outputs are there from when it runs until the last operator that reads
them has run; in training what the gradients read stays until these have run, from the last operator to the first. Where
MXNet writes an output over an input (elementwise operators, views) it takes no memory of its own. Operators' working
memory, copies in other layouts and memory that lies idle between arrays come on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Dict, Iterable, Mapping, Sequence, Set, Tuple

from symbols.audit.core import Audit, item_sizes
from symbols.ir.nodes import Node, list_nodes
from symbols.ir.rewriter import describe

import mxnet as mx

Entry = Tuple[int, int]

_OVERWRITING = """
    Activation LeakyReLU elemwise_add elemwise_mul elemwise_sub _plus_scalar _minus_scalar _mul_scalar _div_scalar
    _rminus_scalar _minimum_scalar _maximum_scalar relu sigmoid tanh clip Dropout add_n _image_normalize
"""
_NOTHING = """
    elemwise_add elemwise_sub add_n broadcast_add broadcast_sub Concat Flatten Reshape expand_dims transpose slice
    slice_axis SliceChannel _plus_scalar _minus_scalar _rminus_scalar _mul_scalar _div_scalar _copy identity BlockGrad
    Cast broadcast_like broadcast_axis broadcast_to sum mean Pad reverse _image_normalize
"""
_INPUTS = """
    Convolution Deconvolution FullyConnected BatchNorm LayerNorm InstanceNorm GroupNorm elemwise_mul broadcast_mul
    elemwise_div broadcast_div dot batch_dot _minimum_scalar _maximum_scalar clip LRN square
"""
# outputs that are their first input under another shape, and take no memory
VIEWS = frozenset(['Flatten', 'Reshape', 'expand_dims', '_copy', 'identity', 'BlockGrad'])
# outputs that may be written over the first input where nobody needs that any more
OVERWRITING = frozenset(_OVERWRITING.split())
# what the gradient of an operator reads: its inputs, its outputs; both where an operator is not here
NOTHING, INPUTS_ONLY = frozenset(_NOTHING.split()), frozenset(_INPUTS.split())
OUTPUTS_ONLY = frozenset(['Activation', 'relu', 'sigmoid', 'tanh', 'softmax', 'log_softmax', 'sqrt', 'exp'])


@dataclass(frozen=True)
class Memory:
    """Bytes: parameters (auxiliary states with them), the peak of activations, and the two together with gradients."""

    parameters: int
    inference_activations: int
    training_activations: int
    gradients: int  # of the parameters

    @property
    def inference(self) -> int:
        """Bytes of an inference."""
        return self.parameters + self.inference_activations

    @property
    def training(self) -> int:
        """Bytes of a training step, without what an optimizer remembers."""
        return self.parameters + self.gradients + self.training_activations


def estimate_memory(symbol: mx.sym.Symbol, shapes: Mapping[str, Sequence[int]], audited: Audit) -> Memory:
    """Return the memory of a symbol at the batch size in `shapes`; errors are those of `audit`."""
    flow = _Flow(symbol, list_nodes(symbol, shapes), shapes)
    total = audited.total
    kept = 4 * (total.parameters + total.auxiliary)
    return Memory(kept, flow.inference(), flow.training(), 4 * total.trainable)


class _Flow:
    """Who makes which array and who reads it; arrays are known by the entry that first held them."""

    def __init__(self, symbol: mx.sym.Symbol, nodes: Sequence[Node], inputs: Iterable[str]) -> None:
        self.nodes = nodes
        items = item_sizes(symbol, nodes, inputs)
        self.size: Dict[Entry, int] = {}
        self.same: Dict[Entry, Entry] = {}  # an entry -> the one whose array it is
        for index, (node, item) in enumerate(zip(nodes, items)):
            for output, shape in enumerate(node.output_shapes):
                entry = (index, output)
                view = node.operator in VIEWS and output == 0
                self.same[entry] = self.same[node.inputs[0]] if view else entry
                self.size[entry] = 0 if node.is_variable or view else item * prod(shape)
        self.order = [index for index, node in enumerate(nodes) if not node.is_variable]
        self.heads = {self.same[(number, output)] for number, output, *_ in describe(symbol)['heads']}

    def inference(self) -> int:
        """Return the peak of a forward pass that keeps nothing."""
        return self._forward(set())

    def training(self) -> int:
        """Return the peak of a forward pass and the backward pass behind it."""
        needed = {index: self._of_gradient(index) for index in self.order}
        kept = set().union(*needed.values()) if needed else set()
        peak = self._forward(kept)
        wanted = dict.fromkeys(kept, 0)
        for entries in needed.values():
            for entry in entries:
                wanted[entry] += 1
        held = {entry: self.size[entry] for entry in kept | self.heads}
        gradients: Dict[Entry, int] = {entry: self.size[entry] for entry in self.heads}
        for index in reversed(self.order):
            node = self.nodes[index]
            own = {self.same[(index, output)] for output in range(len(node.output_shapes))}
            sources = {self.same[entry] for entry in node.inputs if not self.nodes[entry[0]].is_variable}
            before = dict(gradients)
            for source in sources:
                gradients[source] = self.size[source]
            spare = self._spare(node, own, sources, before)
            peak = max(peak, sum(held.values()) + sum(gradients.values()) - spare)
            for entry in own - sources:
                gradients.pop(entry, None)
                held.pop(entry, None) if not wanted.get(entry) else None
            for entry in needed[index]:
                wanted[entry] -= 1
                if not wanted[entry]:
                    held.pop(entry, None)
        return peak

    def _spare(self, node: Node, own: Set[Entry], sources: Set[Entry], before: Mapping[Entry, int]) -> int:
        """Return what is saved where the gradient of an input is written over that of the output."""
        if node.operator not in OVERWRITING or len(own) != 1:
            return 0
        (output,) = own
        fresh = [
            source for source in sources if source not in before and self.size[source] == self.size[output]
        ]
        return self.size[output] if fresh else 0

    def _forward(self, kept: Set[Entry]) -> int:
        """Return the peak where the arrays `kept` stay to the end."""
        last = {self.same[entry]: index for index in self.order for entry in self.nodes[index].inputs}
        live: Dict[Entry, int] = {}
        peak = 0
        for index in self.order:
            node = self.nodes[index]
            read = dict.fromkeys(self.same[entry] for entry in node.inputs)
            done = [
                each
                for each in read
                if each in live and last[each] == index and each not in kept | self.heads
            ]
            if self._overwrites(index, done):
                live.pop(done.pop(0))
            own = [(index, output) for output in range(len(node.output_shapes))]
            live.update({entry: self.size[entry] for entry in own if self.same[entry] == entry})
            peak = max(peak, sum(live.values()))
            for entry in done:
                live.pop(entry)
        return peak

    def _overwrites(self, index: int, done: Sequence[Entry]) -> bool:
        """Whether a node writes its output over its first input, the first of those that nobody reads any more."""
        node = self.nodes[index]
        first = self.same[node.inputs[0]] if node.inputs else None
        same_size = bool(done) and self.size[(index, 0)] == self.size[done[0]]
        return node.operator in OVERWRITING and done[:1] == [first] and same_size

    def _of_gradient(self, index: int) -> Set[Entry]:
        """Return the arrays that the gradient of a node reads."""
        node = self.nodes[index]
        inputs = {self.same[each] for each in node.inputs if not self.nodes[each[0]].is_variable}
        outputs = {self.same[(index, output)] for output in range(len(node.output_shapes))}
        if node.operator in NOTHING:
            return set()
        if node.operator in INPUTS_ONLY:
            return inputs
        if node.operator in OUTPUTS_ONLY:
            return outputs
        return inputs | outputs
