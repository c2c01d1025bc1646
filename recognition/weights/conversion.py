"""Values read from another program's file, put into a network here and made a checkpoint of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from config import resolve
from config.errors import CheckpointError
from config.keys import HEAD_NAMES, KEYS
from recognition.checkpoint.initialize import prepare
from recognition.checkpoint.matching import (
    BODY,
    WHOLE,
    Report,
    Values,
    compare,
    load_part,
    only_head_differs,
    parts_of,
    set_parameters,
    without_classifier,
)
from recognition.checkpoint.network import Arrays, Saved, arrays_of, wrap_symbol
from recognition.tracing import explain
from recognition.tracing.symbol_trace import trace_symbol
from recognition.utils.files import PathLike
from recognition.weights.suggest import hint
from symbols import get_symbol
from symbols.context import computes_in_half

import mxnet as mx

TOLERANCE = (
    1e-3  # of the largest value; other constants or strides move an embedding by more, rounding by less
)
CLASSIFIER_HEAD = 'classifier'


@dataclass(frozen=True)
class Converted:
    """A network of this project with values from elsewhere.

    report: on the values; what it calls missing has its first value, drawn by the config's seed.
    """

    symbol: mx.sym.Symbol
    args: Arrays
    auxs: Arrays
    report: Report


def convert(
    values: Values,
    cfg: Any,
    part: str = WHOLE,
    *,
    source: object = 'the weights',
    target: object = 'the network',
) -> Converted:
    """Build the network of `cfg` and give it `values` (by our names), as `checkpoint.matching.load_part` does.

    Raises CheckpointError where something does not fit that has to by `part`.
    """
    symbol = get_symbol(cfg)
    net = wrap_symbol(symbol)
    mx.random.seed(cfg['seed'])
    prepare(net, symbol, image_shape=cfg['image_shape'], ctx=mx.cpu())
    report = load_part(net, values, cfg, part, source=source, target=target)
    return Converted(symbol, *arrays_of(net, symbol), report)


def choose_part(
    values: Values, cfg: Mapping[str, Any], *, other_head: bool, source: object, target: object
) -> str:
    """Return 'network' where all of it has its value, and 'body' where another head was asked for.

    Raises CheckpointError where the head alone has not and no other was asked for, which may be an oversight, and where
    more has not.
    """
    own = parts_of(cfg)
    whole = compare({**own.backbone, **own.head}, without_classifier(values))
    if whole.ok:
        return WHOLE
    there = f'{source} does not fit {target}: {whole.faults}'
    if not only_head_differs(whole, own):
        raise CheckpointError(f'{there}{hint(values, cfg)}')
    if not other_head:
        raise CheckpointError(f'{there}; --fresh-head leaves its head out and draws one')
    return BODY


def embedding_difference(saved: Saved, converted: Converted, *, image_shape: Any) -> Optional[float]:
    """Return how far the embeddings of a checkpoint and of its conversion are apart, relative to the largest value.

    Two random images (H, W, C) are embedded on the CPU; None where it cannot compute them, or where not all values are
    the checkpoint's. Raises CheckpointError where that is more than rounding.
    """
    halves = computes_in_half(saved.symbol) or computes_in_half(converted.symbol)
    wanted = {name for name in saved.symbol.list_inputs() if name != 'data'}
    if halves or not converted.report.ok or not wanted <= set(saved.values):
        return None
    height, width, channels = image_shape
    images = np.random.RandomState(0).randint(0, 256, (2, channels, height, width))
    both: List[np.ndarray] = []
    forms = (saved.symbol, saved.values), (converted.symbol, {**converted.args, **converted.auxs})
    for symbol, values in forms:
        block = wrap_symbol(symbol)
        set_parameters(block, values, mx.cpu())
        both.append(block(mx.nd.array(images, dtype='float32')).asnumpy())
    apart = float(np.abs(both[0] - both[1]).max() / max(np.abs(both[0]).max(), 1e-30))
    if not apart < TOLERANCE:  # NaN is too far, too
        data = images.astype(np.float32)
        theirs, own = (partial(trace_symbol, *form, data) for form in forms)
        first = explain(theirs, own, ('the checkpoint', 'the network here'), TOLERANCE)
        raise CheckpointError(
            f'the network of the checkpoint and the one here have the same parameters and give embeddings that are '
            f'{apart:.2g} apart, so their layers are connected otherwise; name another preset{first}'
        )
    return apart


def own_settings(cfg: Mapping[str, Any], network: str) -> Dict[str, Any]:
    """Return what a config sets otherwise than its network preset."""
    preset = resolve(network)
    return {key: cfg[key] for key in KEYS if cfg[key] != preset[key]}


def as_option(value: Any) -> str:
    """Return a value of the config as the text that a command line takes for it."""
    return ','.join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def training_command(cfg: Mapping[str, Any], network: str, prefix: PathLike, epoch: int) -> str:
    """Return the words that fine-tune the network of a checkpoint; a classifier has a fresh head for other classes."""
    settings = own_settings(cfg, network)
    settings.pop('num_classes', None)  # training takes it from the data
    classifier = HEAD_NAMES[cfg['net_output']] == CLASSIFIER_HEAD
    words = ['--dataset images --loss classes'] if classifier else []
    words += [f'--{key.replace("_", "-")} {as_option(value)}' for key, value in settings.items()]
    words += [f'--pretrained {Path(prefix)},{epoch}', *(['--pretrained-part body'] if classifier else [])]
    return ' '.join(['facesymbols train --network', network, *words])
