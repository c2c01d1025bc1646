"""Which devices a program computes on, the CPU or the GPUs that `--gpus 0,1` names, and what they cannot do."""

from __future__ import annotations

import json
from typing import Any, List, Optional

from config.errors import ConfigError, MissingExtra

import mxnet as mx


def select_context(gpus: Optional[str] = None) -> List[mx.Context]:
    """Return the contexts for `gpus`, a list of GPU numbers ('0,1'), or the CPU when it is None or empty.

    Raises ConfigError for text that is no such list or a GPU that is not there, MissingExtra when the installed
    mxnet wheel cannot use GPUs.
    """
    if gpus is None or not gpus.strip():
        return [mx.cpu()]
    try:
        numbers = [int(part) for part in gpus.split(',')]
    except ValueError:
        raise ConfigError(f'--gpus {gpus!r} does not do; it must be GPU numbers such as 0,1') from None
    if not mx.runtime.Features().is_enabled('CUDA'):
        raise MissingExtra(
            f'--gpus {gpus} needs an mxnet wheel with CUDA, and the CPU wheel is installed; replace it: '
            'pip uninstall mxnet && pip install mxnet-cu112==1.9.1'
        )
    there = mx.context.num_gpus()
    wrong = [number for number in numbers if not 0 <= number < there]
    if wrong or len(set(numbers)) != len(numbers):
        raise ConfigError(f'--gpus {gpus}: this machine has {there} GPUs, and each is named once, from 0')
    return [mx.gpu(number) for number in numbers]


def check_precision(
    symbol: mx.sym.Symbol,
    contexts: Any,
    name: object = 'the network',
    cure: str = 'name one with --gpus 0',
) -> None:
    """Raise ConfigError for a network that computes in float16 where one of `contexts` (or the only one) is a CPU.

    mxnet has no float16 convolution for CPUs. cure: what to do, in words.
    """
    contexts = contexts if isinstance(contexts, (list, tuple)) else [contexts]
    if computes_in_half(symbol) and any(ctx.device_type == 'cpu' for ctx in contexts):
        raise ConfigError(f'{name} computes in float16 (fp16=True), which needs a GPU: {cure}')


def computes_in_half(symbol: mx.sym.Symbol) -> bool:
    """Whether a symbol casts to float16, as those of fp16=True do."""
    nodes = json.loads(symbol.tojson())['nodes']
    return any(node.get('attrs', {}).get('dtype') == 'float16' for node in nodes)
