"""The process of one contender of `tools.bench.classifier`: it trains a few steps and tells time and memory.

    python -m tools.bench.classifier_steps '{"num_classes": 1000, ...}' 128 3 figures

The network before the classifier is a single small layer, so that the classifier is what is measured.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import Dict

import numpy as np

from config import resolve
from recognition.distributed.kvstore import KVStoreGroup
from recognition.training.trainer import Trainer
from tools.bench.steps import memory, seconds

import mxnet as mx

SIDE = 8


def main(settings: str, batch: str, steps: str, out: str) -> None:
    """Train `steps` steps after a first one, and write the figures to `out`-RANK.json."""
    before = memory('now')
    cfg = resolve('r18', None, 'arcface', image_shape=(SIDE, SIDE, 3), **json.loads(settings))
    workers = KVStoreGroup(cfg.kvstore, [mx.cpu()])
    x = mx.sym.Flatten((mx.sym.var('data') - 127.5) * 0.0078125)
    symbol = mx.sym.FullyConnected(x, num_hidden=cfg.emb_size, name='fc1')
    trainer = Trainer(symbol, cfg, lambda step: 0.1, [mx.cpu()], workers)
    trainer.begin()
    draw, taken = np.random.default_rng(workers.rank), []
    for _ in range(int(steps) + 1):
        images = draw.integers(0, 256, (int(batch) // workers.size, 3, SIDE, SIDE), np.uint8)
        labels = draw.integers(0, cfg.num_classes, len(images)).astype(np.float32)
        taken.append(seconds(partial(trainer.step, images, labels)))
    found: Dict[str, float] = {'seconds': median(taken[1:]), 'memory': memory('peak') - before}
    Path(f'{out}-{workers.rank}.json').write_text(json.dumps(found))


if __name__ == '__main__':
    main(*sys.argv[1:])
