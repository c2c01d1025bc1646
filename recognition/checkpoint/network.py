"""Checkpoints of an embedding network in MXNet's layout, which InsightFace's tools read.

`prefix-symbol.json` and `prefix-0007.params` are what `mx.model.save_checkpoint` writes, each put in place
only when it is whole, and `prefix-0007.params.sha256` is the sum of the latter. What training needs to go on is
in `recognition.checkpoint.training_state`.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Container, Dict, List, NamedTuple, Optional, Sequence, Tuple

from config.errors import CheckpointError, first_few, nearest
from config.reading import no_reason, reading
from recognition.checkpoint.matching import CLASSIFIER, FLAT_AXES, check_fit, set_parameters
from recognition.checkpoint.params_file import check_sizes
from recognition.utils.checksums import check_checksum, replacing_with_checksum
from recognition.utils.files import PathLike, replacing
from recognition.utils.run_paths import epochs_of, params_path, symbol_path
from symbols.context import check_precision
from symbols.ir.labels import label_names
from symbols.ir.losses import predictions, without_losses
from symbols.ir.nodes import data_variables, load_symbol, variable_names
from symbols.ir.padding import check_padding
from symbols.ir.rewriter import describe, from_graph
from symbols.ir.shapes import quiet
from symbols.passes.prelu import as_operators

import mxnet as mx
from mxnet import gluon

EMBEDDING = 'fc1_output'
DATA = 'data'  # what a network's images are called here
CHANNELS = (3, 1)  # of images, RGB and grey
SIDES = (112, 112)  # of images of which no size is known
NAMED = 3  # how many outputs an error names
IN_FLOAT32 = 'this runs on the CPU, for which `facesymbols import-weights insightface` makes a float32 checkpoint of it'

Arrays = Dict[str, Any]

logger = logging.getLogger(__name__)


def save_network(prefix: PathLike, epoch: int, symbol: mx.sym.Symbol, args: Arrays, auxs: Arrays) -> None:
    """Write `prefix-symbol.json` and `prefix-%04d.params`, with its sum, as `mx.model.save_checkpoint` would.

    Each PReLU is written as the operator that InsightFace's symbols have, which other programs know.
    """
    mx.nd.waitall()  # batch norm's moving statistics are written behind backward's back
    arrays = {f'arg:{name}': value.as_in_context(mx.cpu()) for name, value in args.items()}
    arrays.update({f'aux:{name}': value.as_in_context(mx.cpu()) for name, value in auxs.items()})
    with (
        replacing(symbol_path(prefix), CheckpointError) as graph,
        replacing_with_checksum(params_path(prefix, epoch)) as values,
    ):
        as_operators(symbol).save(str(graph))
        mx.nd.save(str(values), arrays)


def load_params(prefix: PathLike, epoch: int) -> Tuple[Arrays, Arrays]:
    """Read `prefix-%04d.params` as (arguments, auxiliary states) by name, on the CPU."""
    path = params_path(prefix, epoch)
    if not path.is_file():
        there = epochs_of(prefix)
        hint = f'; the epochs there are {", ".join(map(str, there[-8:]))}' if there else ''
        raise CheckpointError(f'{path} does not exist{hint}')
    check_checksum(path)
    with reading(path, CheckpointError, 'is damaged or not a file of MXNet parameters', no_reason):
        check_sizes(path)
        arrays = mx.nd.load(str(path))
    if not isinstance(arrays, dict) or not arrays:
        raise CheckpointError(f'{path} holds no named parameters')
    kinds: Dict[str, Arrays] = {'arg': {}, 'aux': {}}
    for key, value in arrays.items():
        kind, colon, name = key.partition(':')
        if not colon or kind not in kinds:
            raise CheckpointError(
                f"{path} names a parameter {key!r}, which is neither 'arg:...' nor 'aux:...'"
            )
        kinds[kind][name] = value
    return kinds['arg'], kinds['aux']


def embedding_of(
    symbol: mx.sym.Symbol,
    source: object = 'the symbol',
    output: Optional[str] = None,
    values: Container[str] = (),
) -> mx.sym.Symbol:
    """Return the part of a symbol up to `output` or `fc1_output`; without an fc1, up to its only output.

    A loss on top is left out: of SoftmaxOutput the softmax is left, of LogisticRegressionOutput the sigmoid, of another
    one what it reads of the network. values: the names of the parameters.
    """
    internals = symbol.get_internals()
    listed = internals.list_outputs()
    if output is not None:
        return without_losses(internals[_place(output, listed, source, symbol)])
    if EMBEDDING in listed:
        return internals[_place(EMBEDDING, listed, source, symbol)]
    given = predictions(without_losses(symbol), values, image_inputs(symbol, values))
    outputs = _dense_outputs(symbol) if given is None else given.list_outputs()
    if given is None or len(outputs) > 1:
        raise CheckpointError(
            f'{source} has no output {EMBEDDING} but {" and ".join(outputs[:NAMED]) or "those of its loss"}; '
            'choose one by --output-layer NAME (output_layer)'
        )
    if describe(given) != describe(symbol):
        graph = describe(given)
        kind = graph['nodes'][graph['heads'][0][0]]['op']
        note(
            f'{source}: the loss {symbol.list_outputs()[0]} is left out; the output is {outputs[0]} ({kind})'
        )
    return given


@cache
def note(words: str) -> None:
    """Log a note on a file, once, however often the file is read."""
    logger.warning(words)


def _place(output: str, listed: Sequence[str], source: object, symbol: mx.sym.Symbol) -> int:
    """Return the number of an internal output that is called so, or is the only one of an operator called so."""
    names = [name for name in (output, f'{output}_output') if name in listed]
    if not names:
        known = [name for name in listed if name.endswith('_output')]
        raise CheckpointError(
            f'{source} has no output {output!r}{nearest(output, known)}; it ends in '
            f'{first_few(symbol.list_outputs(), NAMED)}'
        )
    if listed.count(names[0]) > 1:
        raise CheckpointError(
            f'{source} has {listed.count(names[0])} outputs called {names[0]}; give each its own name'
        )
    return listed.index(names[0])


def _dense_outputs(symbol: mx.sym.Symbol) -> List[str]:
    """Return the outputs of the fully connected layers of a symbol."""
    return [f'{node["name"]}_output' for node in describe(symbol)['nodes'] if node['op'] == 'FullyConnected']


def wrap_symbol(symbol: mx.sym.Symbol) -> gluon.SymbolBlock:
    """Return the symbol as a block to call with images (N, 3, H, W); its parameters are not initialised."""
    return gluon.SymbolBlock(symbol, mx.sym.var('data', dtype='float32'))


class Saved(NamedTuple):
    """Contents of a checkpoint: symbol and values of the embedding network, and values of the `fc7` layer, if any."""

    symbol: mx.sym.Symbol
    values: Arrays
    classifier: Arrays


def load_embedding(prefix: PathLike, epoch: int, output: Optional[str] = None) -> Saved:
    """Read a checkpoint, ours or another's, up to fc1 or `output` as `embedding_of` has it; unchecked for the rest.

    The image input is the argument that is neither a label nor a parameter; it is renamed to `data`.
    """
    source = symbol_path(prefix)
    whole = load_symbol(source, output or EMBEDDING)
    args, auxs = load_params(prefix, epoch)
    values = {**args, **auxs}
    symbol = _with_data(embedding_of(whole, source, output, values), values, source)
    inputs = set(symbol.list_inputs())
    classifier = {
        name: value for name, value in values.items() if name.startswith(CLASSIFIER) and name not in inputs
    }
    top = {*variable_names(source), *whole.list_inputs()} - inputs
    return Saved(
        symbol,
        {name: value for name, value in values.items() if name not in top and name not in classifier},
        classifier,
    )


def image_inputs(symbol: mx.sym.Symbol, values: Container[str] = ()) -> List[str]:
    """Return the arguments that may be a network's images: data of operators, without a value, and no labels."""
    graph = describe(symbol)
    labels = label_names(graph['nodes'])
    found = [name for name in data_variables(graph['nodes']) if name not in values]
    if DATA in found:
        return [DATA]  # what else has no value is missing
    return [name for name in found if name not in labels] or found


def _with_data(symbol: mx.sym.Symbol, values: Container[str], source: object) -> mx.sym.Symbol:
    """Return a symbol whose images are called `data`; CheckpointError where it has several inputs, or none."""
    inputs, graph = image_inputs(symbol, values), describe(symbol)
    labels = [name for name in sorted(label_names(graph['nodes']) - {*inputs}) if name not in values]
    if len(inputs) != 1 or labels:
        reads = first_few([*inputs, *labels], NAMED) or 'none'
        raise CheckpointError(
            f'{source}: beside the parameters in the .params file, {symbol.list_outputs()[0]} must read one input, the '
            f'images, but it reads {reads}; choose another layer by --output-layer NAME (output_layer)'
        )
    if inputs == [DATA]:
        return symbol
    if DATA in symbol.list_inputs():
        raise CheckpointError(
            f'{source} has an input {inputs[0]!r} and a parameter {DATA!r}; rename the parameter'
        )
    for node in graph['nodes']:
        if node['op'] == 'null' and node['name'] == inputs[0]:
            node['name'] = DATA
    return from_graph(graph)


def input_channels(saved: Saved, size: Sequence[Optional[int]] = (), data: str = DATA) -> int:
    """Return how many channels a network's images have: 3 or else 1, where the shapes of its parameters go with that.

    size: (height, width) of the images where they are known; data: the name of the input. Where neither fits, the first
    convolution's weight says it.
    """
    height, width = (side or default for side, default in zip((*size, None, None), SIDES))
    fitting = [each for each in CHANNELS if _fits(saved, {data: (1, each, height, width)})]
    if fitting:
        return fitting[0]
    nodes = describe(saved.symbol)['nodes']
    for node in nodes:
        if node['op'] == 'Convolution':
            weight = saved.values.get(nodes[node['inputs'][1][0]]['name'])
            return 3 if weight is None else int(node['attrs'].get('num_group', 1)) * int(weight.shape[1])
    return 3


def _fits(saved: Saved, shapes: Dict[str, Tuple[int, ...]]) -> bool:
    """Return whether images of such a shape want parameters as they are, but for layers that depend on their size."""
    try:
        with quiet():
            arguments, _, auxiliary = saved.symbol.infer_shape_partial(**shapes)
    except mx.MXNetError:
        return False
    names = [*saved.symbol.list_arguments(), *saved.symbol.list_auxiliary_states()]
    wanted = dict(zip(names, (*arguments, *auxiliary)))
    held = {
        name: value.shape
        for name, value in saved.values.items()
        if name in wanted and value.ndim != FLAT_AXES
    }
    return all(wanted[name] == shape for name, shape in held.items())


def load_network(
    prefix: PathLike,
    epoch: int,
    ctx: Any = None,
    *,
    image_shape: Sequence[int] = (112, 112, 3),
    output: Optional[str] = None,
) -> gluon.SymbolBlock:
    """Load an embedding network, ours or InsightFace's, as a block: images (N, 3, H, W) in 0..255 to (N, D).

    The embedding is not L2-normalised. Whatever the saved symbol has on top of `fc1_output`, or of the layer `output`,
    is left out. `image_shape` (H, W, C) is what the parameters are checked against; `ctx` is a context or several.
    Raises CheckpointError when a file is missing, damaged, or does not belong to the other one; ConfigError for a
    network in float16 on a CPU.
    """
    saved = load_embedding(prefix, epoch, output)
    source, target = params_path(prefix, epoch), symbol_path(prefix)
    check_precision(saved.symbol, ctx or mx.cpu(), target)
    check_fit(saved.symbol, saved.values, image_shape=image_shape, source=source, target=target)
    check_padding(saved.symbol, image_shape)
    block = wrap_symbol(saved.symbol)
    set_parameters(block, saved.values, ctx or mx.cpu())
    block.hybridize(static_alloc=True)
    return block


def arrays_of(block: gluon.Block, symbol: mx.sym.Symbol, ctx: Any = None) -> Tuple[Arrays, Arrays]:
    """Return the values of a block by name, as (arguments, auxiliary states) of its symbol; `ctx`: which copy."""
    auxiliary = set(symbol.list_auxiliary_states())
    arrays = {name: parameter.data(ctx) for name, parameter in block.collect_params().items()}
    return (
        {name: value for name, value in arrays.items() if name not in auxiliary},
        {name: value for name, value in arrays.items() if name in auxiliary},
    )


def check_float32(symbol: mx.sym.Symbol, source: PathLike) -> None:
    """Raise ConfigError, which says what to do, for a network that a CPU cannot compute; source: its file."""
    check_precision(symbol, mx.cpu(), source, cure=IN_FLOAT32)
