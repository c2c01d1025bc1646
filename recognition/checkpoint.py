"""Checkpoints of an embedding network in MXNet's layout, which InsightFace's tools read.

`prefix-symbol.json` and `prefix-0007.params` are what `mx.model.save_checkpoint` writes, each put in place
only when it is whole. What training needs to go on is in `recognition.state`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from config.errors import CheckpointError, ConfigError
from recognition.files import PathLike, replacing
from symbols.nodes import load_symbol
from symbols.shapes import infer_shapes

import mxnet as mx
from mxnet import gluon

EMBEDDING = 'fc1_output'
CLASSIFIER = 'fc7_'  # InsightFace leaves the classifier's weights in the params of the embedding network
NAMED = 3  # how many parameters an error names

Arrays = Dict[str, Any]


def symbol_path(prefix: PathLike) -> Path:
    """Return `prefix-symbol.json`."""
    return Path(f'{os.fspath(prefix)}-symbol.json')


def params_path(prefix: PathLike, epoch: int) -> Path:
    """Return `prefix-%04d.params`."""
    return Path(f'{os.fspath(prefix)}-{epoch:04d}.params')


def epochs_of(prefix: PathLike, suffix: str = 'params') -> List[int]:
    """Return the epochs that have a `prefix-%04d.suffix`, in ascending order."""
    prefix = Path(prefix)
    pattern = re.compile(re.escape(prefix.name) + r'-(\d{4,})\.' + re.escape(suffix))
    if not prefix.parent.is_dir():
        return []
    found = (pattern.fullmatch(path.name) for path in prefix.parent.iterdir())
    return sorted(int(match.group(1)) for match in found if match)


def save_network(prefix: PathLike, epoch: int, symbol: mx.sym.Symbol, args: Arrays, auxs: Arrays) -> None:
    """Write `prefix-symbol.json` and `prefix-%04d.params` as `mx.model.save_checkpoint` would: both or none."""
    mx.nd.waitall()  # batch norm's moving statistics are written behind backward's back
    arrays = {f'arg:{name}': value.as_in_context(mx.cpu()) for name, value in args.items()}
    arrays.update({f'aux:{name}': value.as_in_context(mx.cpu()) for name, value in auxs.items()})
    with (
        replacing(symbol_path(prefix), CheckpointError) as graph,
        replacing(params_path(prefix, epoch), CheckpointError) as values,
    ):
        symbol.save(str(graph))
        mx.nd.save(str(values), arrays)


def load_params(prefix: PathLike, epoch: int) -> Tuple[Arrays, Arrays]:
    """Read `prefix-%04d.params` as (arguments, auxiliary states) by name, on the CPU."""
    path = params_path(prefix, epoch)
    if not path.is_file():
        there = epochs_of(prefix)
        hint = f'; the epochs there are {", ".join(map(str, there[-8:]))}' if there else ''
        raise CheckpointError(f'{path} does not exist{hint}')
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


def embedding_of(symbol: mx.sym.Symbol, source: object = 'the symbol') -> mx.sym.Symbol:
    """Return the part of a symbol up to `fc1_output`; a network with one output and no fc1 stays whole."""
    internals = symbol.get_internals()
    if EMBEDDING in internals.list_outputs():
        return internals[EMBEDDING]
    if len(symbol.list_outputs()) == 1:
        return symbol
    raise CheckpointError(
        f'{source} has no output {EMBEDDING}; its outputs are {symbol.list_outputs()[:NAMED]}'
    )


def check_fit(
    symbol: mx.sym.Symbol,
    args: Arrays,
    auxs: Arrays,
    *,
    image_shape: Sequence[int] = (112, 112, 3),
    source: object = 'the checkpoint',
    target: object = 'the network',
) -> None:
    """Raise CheckpointError unless the arrays are the parameters of `symbol` by name and shape.

    `image_shape` is (H, W, 3). Parameters of an `fc7` layer may be left over, as InsightFace leaves them.
    """
    height, width, channels = image_shape
    if 'data' not in symbol.list_arguments():
        raise CheckpointError(
            f"{target} has no input 'data'; its inputs are {symbol.list_arguments()[:NAMED]}"
        )
    try:
        shapes = infer_shapes(symbol, data=(1, channels, height, width))
    except ConfigError as error:
        raise CheckpointError(f'{target} takes no images of {height}x{width}x{channels}: {error}') from error
    wanted = {**shapes.arguments, **shapes.auxiliary}
    del wanted['data']
    held = {name: value for name, value in {**args, **auxs}.items() if not name.startswith(CLASSIFIER)}
    compare_parameters(wanted, held, source=source, target=target)


def compare_parameters(
    wanted: Dict[str, Tuple[int, ...]], held: Arrays, *, source: object, target: object
) -> None:
    """Raise CheckpointError unless `held` has the wanted names, each with the wanted shape, and no other."""
    differing = [
        f'{name} {tuple(held[name].shape)} instead of {tuple(shape)}'
        for name, shape in wanted.items()
        if name in held and tuple(held[name].shape) != tuple(shape)
    ]
    problems = [
        _some('it lacks', [name for name in wanted if name not in held]),
        _some('it has also', [name for name in held if name not in wanted]),
        _some('it differs in', differing),
    ]
    if any(problems):
        raise CheckpointError(f'{source} does not fit {target}: ' + '; '.join(filter(None, problems)))


def _some(words: str, names: List[str]) -> str:
    """Return the first few names behind `words`, and how many there are; '' when there are none."""
    if not names:
        return ''
    more = f' and {len(names) - NAMED} more' if len(names) > NAMED else ''
    return f'{words} {", ".join(names[:NAMED])}{more}'


def check_same_activations(
    saved: mx.sym.Symbol, own: mx.sym.Symbol, *, source: object, target: object
) -> None:
    """Raise CheckpointError where a node has another activation, which no shape would betray."""
    mine = _activations(own)
    for name, kind in _activations(saved).items():
        if mine.get(name, kind) != kind:
            raise CheckpointError(f'{source} does not fit {target}: {name} is {kind} instead of {mine[name]}')


def _activations(symbol: mx.sym.Symbol) -> Dict[str, str]:
    nodes = json.loads(symbol.tojson())['nodes']
    return {
        n['name']: n['attrs']['act_type']
        for n in nodes
        if n['op'] != 'null' and 'act_type' in n.get('attrs', {})
    }


def wrap_symbol(symbol: mx.sym.Symbol) -> gluon.SymbolBlock:
    """Return the symbol as a block to call with images (N, 3, H, W); its parameters are not initialised."""
    return gluon.SymbolBlock(symbol, mx.sym.var('data', dtype='float32'))


def set_parameters(block: gluon.Block, arrays: Arrays, ctx: Any = None) -> None:
    """Give every parameter of the block the array of its name; the arrays must be there and fit."""
    for name, parameter in block.collect_params().items():
        parameter.shape = arrays[name].shape
        if parameter._data is None:
            parameter.initialize(init=mx.init.Zero(), ctx=ctx)
        parameter.set_data(mx.nd.array(arrays[name], dtype=parameter.dtype))


def load_embedding(prefix: PathLike, epoch: int) -> Tuple[mx.sym.Symbol, Arrays, Arrays]:
    """Read a checkpoint as (symbol up to `fc1_output`, arguments, auxiliary states), unchecked against each other."""
    whole = load_symbol(symbol_path(prefix))
    args, auxs = load_params(prefix, epoch)
    symbol = embedding_of(whole, symbol_path(prefix))
    top = set(whole.list_inputs()) - set(symbol.list_inputs())
    args, auxs = ({n: value for n, value in arrays.items() if n not in top} for arrays in (args, auxs))
    return symbol, args, auxs


def load_network(
    prefix: PathLike, epoch: int, ctx: Any = None, *, image_shape: Sequence[int] = (112, 112, 3)
) -> gluon.SymbolBlock:
    """Load an embedding network, ours or InsightFace's, as a block: images (N, 3, H, W) in 0..255 to (N, D).

    The embedding is not L2-normalised. Whatever the saved symbol has on top of `fc1_output` is left out.
    `image_shape` (H, W, 3) is what the parameters are checked against; `ctx` is a context or a list of them.
    Raises CheckpointError when a file is missing, damaged, or does not belong to the other one.
    """
    symbol, args, auxs = load_embedding(prefix, epoch)
    source, target = params_path(prefix, epoch), symbol_path(prefix)
    check_fit(symbol, args, auxs, image_shape=image_shape, source=source, target=target)
    block = wrap_symbol(symbol)
    set_parameters(block, {**args, **auxs}, ctx or mx.cpu())
    block.hybridize(static_alloc=True)
    return block
