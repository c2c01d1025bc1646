"""Checkpoints of an embedding network in MXNet's layout, which InsightFace's tools read.

`prefix-symbol.json` and `prefix-0007.params` are what `mx.model.save_checkpoint` writes, each put in place
only when it is whole, and `prefix-0007.params.sha256` is the sum of the latter. What training needs to go on is
in `recognition.checkpoint.training_state`.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

from config.errors import CheckpointError
from recognition.checkpoint.matching import CLASSIFIER, check_fit, set_parameters
from recognition.utils.checksums import check_checksum, replacing_with_checksum
from recognition.utils.files import PathLike, replacing
from recognition.utils.run_paths import epochs_of, params_path, symbol_path
from symbols.context import check_precision
from symbols.ir.nodes import load_symbol
from symbols.ir.padding import check_padding
from symbols.ir.rewriter import describe
from symbols.passes.prelu import as_operators

import mxnet as mx
from mxnet import gluon

EMBEDDING = 'fc1_output'
NAMED = 3  # how many outputs an error names
IN_FLOAT32 = 'this runs on the CPU, for which `facesymbols import-weights insightface` makes a float32 checkpoint of it'

Arrays = Dict[str, Any]


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
    try:
        arrays = mx.nd.load(str(path))
    except (mx.MXNetError, UnicodeDecodeError, MemoryError) as error:
        raise CheckpointError(f'{path} is damaged or not a file of MXNet parameters') from error
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
    symbol: mx.sym.Symbol, source: object = 'the symbol', output: Optional[str] = None
) -> mx.sym.Symbol:
    """Return the part of a symbol up to `output` or `fc1_output`; a network with one output and no fc1 stays whole."""
    internals = symbol.get_internals()
    if output is not None:
        name = output if output in internals.list_outputs() else f'{output}_output'
        if name not in internals.list_outputs():
            raise CheckpointError(
                f'{source} has no output {output!r}; its outputs are {symbol.list_outputs()[:NAMED]}'
            )
        return internals[name]
    found = internals.list_outputs().count(EMBEDDING)
    if found == 1:
        return internals[EMBEDDING]
    if found:
        raise CheckpointError(
            f'{source} has {found} outputs {EMBEDDING} and no saying which is the embedding'
        )
    if len(symbol.list_outputs()) == 1:
        return symbol
    raise CheckpointError(
        f'{source} has no output {EMBEDDING}; its outputs are {symbol.list_outputs()[:NAMED]}'
    )


def wrap_symbol(symbol: mx.sym.Symbol) -> gluon.SymbolBlock:
    """Return the symbol as a block to call with images (N, 3, H, W); its parameters are not initialised."""
    return gluon.SymbolBlock(symbol, mx.sym.var('data', dtype='float32'))


class Saved(NamedTuple):
    """What a checkpoint holds: the embedding network's symbol and values, and those of the `fc7` layer, if any."""

    symbol: mx.sym.Symbol
    values: Arrays
    classifier: Arrays


def load_embedding(prefix: PathLike, epoch: int, output: Optional[str] = None) -> Saved:
    """Read a checkpoint, ours or InsightFace's, up to fc1 or `output`; unchecked against each other."""
    whole = load_symbol(symbol_path(prefix))
    args, auxs = load_params(prefix, epoch)
    symbol = embedding_of(whole, symbol_path(prefix), output)
    values = {**args, **auxs}
    classifier = {name: value for name, value in values.items() if name.startswith(CLASSIFIER)}
    top = set(whole.list_inputs()) - set(symbol.list_inputs())
    return Saved(
        symbol,
        {name: value for name, value in values.items() if name not in top and name not in classifier},
        classifier,
    )


def input_channels(saved: Saved) -> int:
    """Return how many channels a network's images have, by the weight of its first convolution; 3 without one."""
    nodes = describe(saved.symbol)['nodes']
    for node in nodes:
        if node['op'] == 'Convolution':
            weight = saved.values.get(nodes[node['inputs'][1][0]]['name'])
            return 3 if weight is None else int(node['attrs'].get('num_group', 1)) * int(weight.shape[1])
    return 3


def load_network(
    prefix: PathLike,
    epoch: int,
    ctx: Any = None,
    *,
    image_shape: Sequence[int] = (112, 112, 3),
    output: Optional[str] = None,
) -> gluon.SymbolBlock:
    """Load an embedding network, ours or InsightFace's, as a block: images (N, 3, H, W) in 0..255 to (N, D).

    The embedding is not L2-normalised. Whatever the saved symbol has on top of `fc1_output`, or `output`, is left
    out.
    `image_shape` (H, W, C) is what the parameters are checked against; `ctx` is a context or a list of them.
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
