"""The process of one contender of `tools.bench.memory`: it prints GB foretold, GB at its peak, and seconds.

python -m tools.bench.memory_steps r50 training 8
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np

from config import resolve
from recognition.checkpoint.initialize import prepare
from recognition.checkpoint.network import wrap_symbol
from recognition.training.recompute import build_pass
from symbols import get_symbol
from symbols.audit.core import audit
from symbols.audit.memory import estimate_memory
from symbols.passes.prelu import for_training
from tools.bench.steps import memory, seconds

import mxnet as mx

STEPS = 3
FORGET_PEAK = '5'  # Linux: the greatest resident memory counts from now


def main(network: str, way: str, batch: str) -> None:
    """Run one network in one way and print the three figures."""
    cfg = resolve(network, recompute=way == 'recompute')
    symbol, before = get_symbol(cfg), memory('now')
    height, width, channels = cfg.image_shape
    shapes = {'data': (int(batch), channels, height, width)}
    # what is run in training is what is foretold; of a network that recomputes the same is foretold, to compare with
    run, _ = (symbol, None) if way == 'inference' else for_training(symbol, shapes)
    estimate = estimate_memory(run, shapes, audit(run, shapes))
    told = estimate.inference if way == 'inference' else estimate.training
    net = wrap_symbol(symbol)
    prepare(net, symbol, image_shape=cfg.image_shape, ctx=[mx.cpu()])
    faces = mx.nd.array(np.random.default_rng(0).integers(0, 256, shapes['data']))
    step = _inference(net, faces) if way == 'inference' else _training(net, symbol, cfg, faces)
    mx.nd.waitall()
    Path('/proc/self/clear_refs').write_text(FORGET_PEAK)  # that of the first values
    taken = min(seconds(step) for _ in range(STEPS))
    sys.stdout.write(f'{told / 1e9} {memory("peak") - before} {taken}\n')


def _inference(net: Any, faces: Any) -> Callable[[], None]:
    for parameter in net.collect_params().values():
        parameter.grad_req = 'null'  # gradients would have memory
    net.hybridize()
    return lambda: net(faces).wait_to_read()


def _training(net: Any, symbol: Any, cfg: Any, faces: Any) -> Callable[[], None]:
    network = build_pass(net, symbol, cfg, [mx.cpu()])

    def step() -> None:
        with mx.autograd.record():
            loss = (network(faces) ** 2).sum()
        loss.backward()
        network.backward()

    return step


if __name__ == '__main__':
    main(*sys.argv[1:])
