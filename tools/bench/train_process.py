"""The process of one contender of `tools.bench.train`: it trains a network its own way, a step at a time.

    python -m tools.bench.train_process 'torch eager' FOLDER 2

FOLDER/task.json says how; images, labels and first values lie beside it. The losses of the first steps, of which there
are CHECKED, go to FOLDER/'torch eager'.npy before the first turn. Each imports what it needs alone.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple

import numpy as np

from tools.bench.contenders import AS_IT_COMES, PLAIN
from tools.bench.saved import load_graph, load_values
from tools.bench.turns import claim_output, serve

CHECKED = 3
MOMENTUM, DECAY = 0.9, 5e-4
Step = Callable[[], float]  # trains on the images once, returns the mean loss before


class Task(NamedTuple):
    """What is trained: uint8 images (N, 3, H, W), labels (N,), first values by name, and the settings."""

    folder: Path
    images: np.ndarray
    labels: np.ndarray
    values: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]  # the network and its settings, classes, rate
    threads: int


def _plain(task: Task) -> Step:
    """Return a step as InsightFace's script makes it, by mx.mod.Module."""
    import mxnet as mx

    embedding = mx.sym.load(str(task.folder / 'plain.json'))
    fc7 = mx.sym.FullyConnected(embedding, num_hidden=task.settings['classes'], no_bias=True, name='fc7')
    module = mx.mod.Module(mx.sym.SoftmaxOutput(fc7, mx.sym.var('softmax_label'), name='softmax'))
    module.bind([('data', task.images.shape)], [('softmax_label', task.labels.shape)])
    values = {name: mx.nd.array(value) for name, value in task.values.items()}
    module.init_params(arg_params=values, aux_params=values, allow_extra=True)
    settings = {'learning_rate': task.settings['rate'], 'momentum': MOMENTUM, 'wd': DECAY}
    module.init_optimizer(optimizer='sgd', optimizer_params=settings)
    labels = task.labels.astype(int)

    def step() -> float:
        batch = mx.io.DataBatch([mx.nd.array(task.images)], [mx.nd.array(task.labels)])
        module.forward_backward(batch)
        module.update()
        shares = module.get_outputs()[0].asnumpy()
        mx.nd.waitall()
        return float(-np.log(shares[np.arange(len(labels)), labels]).mean())

    return step


def _ours(task: Task, *, recompute: bool = False) -> Step:
    """Return a step of this project's trainer."""
    from config import resolve
    from recognition.checkpoint.matching import set_parameters
    from recognition.training.trainer import Trainer

    import mxnet as mx

    own = {'num_classes': task.settings['classes'], 'fc7_no_bias': True, 'recompute': recompute}
    cfg = resolve(
        task.settings['network'], None, 'softmax', **task.settings['settings'], **own, mom=MOMENTUM, wd=DECAY
    )
    rate = task.settings['rate']
    symbol = mx.sym.load(str(task.folder / 'own.json'))
    trainer = Trainer(symbol, cfg, lambda step: rate, [mx.cpu()])
    set_parameters(trainer.net, task.values)
    trainer.classifier.load(task.values)
    trainer.begin()

    def step() -> float:
        result = trainer.step(task.images, task.labels)
        mx.nd.waitall()
        return float(result.losses.mean())

    return step


def _torch(task: Task, *, channels_last: bool = False) -> Step:
    import torch

    from tools.bench.torch_network import build_torch

    torch.set_num_threads(task.threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    weight = torch.from_numpy(task.values['fc7_weight'])
    classes, width = weight.shape
    classifier = torch.nn.Linear(width, classes, bias=False)
    classifier.load_state_dict({'weight': weight})
    embedding = build_torch(load_graph(task.folder / 'plain'), task.values)
    network: Any = torch.nn.Sequential(embedding, classifier)
    network = network.to(memory_format=layout)
    optimizer = torch.optim.SGD(
        network.parameters(), task.settings['rate'], momentum=MOMENTUM, weight_decay=DECAY
    )
    loss, labels = torch.nn.CrossEntropyLoss(), torch.from_numpy(task.labels.astype(np.int64))

    def step() -> float:
        optimizer.zero_grad()
        error = loss(network(torch.from_numpy(task.images).float().to(memory_format=layout)), labels)
        error.backward()
        optimizer.step()
        return float(error)

    return step


CONTENDERS: Mapping[str, Callable[[Task], Step]] = {
    PLAIN: _plain,
    AS_IT_COMES: _plain,
    'facesymbols': _ours,
    'facesymbols, recompute': partial(_ours, recompute=True),
    'torch eager': _torch,
    'torch channels-last': partial(_torch, channels_last=True),
}


def main(name: str, folder: str, threads: str) -> None:
    """Make the contender, write the losses of its first steps and take turns."""
    replies = claim_output()
    held = Path(folder)
    settings = json.loads((held / 'task.json').read_text())
    images, labels = np.load(held / 'images.npy'), np.load(held / 'labels.npy')
    task = Task(held, images, labels, load_values(held / 'plain'), settings, int(threads))
    step = CONTENDERS[name](task)
    np.save(held / f'{name}.npy', [step() for _ in range(CHECKED)])
    serve(replies, step)


if __name__ == '__main__':
    main(*sys.argv[1:])
