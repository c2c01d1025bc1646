"""Files with the weights of arcface_torch's ResNets, as small as they may be."""

from __future__ import annotations

import numpy as np

from tests.helpers import torch_writer

EMB = 8
UNITS = {
    'iresnet18': (2, 2, 2, 2),
    'iresnet34': (3, 4, 6, 3),
    'iresnet50': (3, 4, 14, 3),
    'iresnet100': (3, 13, 30, 3),
    'iresnet200': (6, 26, 60, 6),
}


def norm(name, width):
    parts = ('weight', 'bias', 'running_mean', 'running_var')
    return {**{f'{name}.{part}': (width,) for part in parts}, f'{name}.num_batches_tracked': ()}


def iresnet(units, emb_size=EMB):
    """Return the shapes in an iresnet's file, by name and in its order."""
    shapes = {'conv1.weight': (64, 3, 3, 3), **norm('bn1', 64), 'prelu.weight': (64,)}
    inputs = 64
    for stage, (count, width) in enumerate(zip(units, (64, 128, 256, 512)), start=1):
        for unit in range(count):
            name = f'layer{stage}.{unit}'
            shapes.update(norm(f'{name}.bn1', inputs))
            shapes[f'{name}.conv1.weight'] = (width, inputs, 3, 3)
            shapes.update(norm(f'{name}.bn2', width))
            shapes[f'{name}.prelu.weight'] = (width,)
            shapes[f'{name}.conv2.weight'] = (width, width, 3, 3)
            shapes.update(norm(f'{name}.bn3', width))
            if unit == 0:
                shapes[f'{name}.downsample.0.weight'] = (width, inputs, 1, 1)
                shapes.update(norm(f'{name}.downsample.1', width))
            inputs = width
    shapes.update(norm('bn2', 512))
    shapes.update({'fc.weight': (emb_size, 512 * 7 * 7), 'fc.bias': (emb_size,)})
    return {**shapes, **norm('features', emb_size)}


def write_iresnet(path, shapes, arrays=None, kinds=None, *, value=lambda number: (1000 + number) / 1024):
    """Write a state dict; return its path, and the number that fills each parameter, by name.

    Every parameter is one number, which its strides of 0 repeat, so that the file is small; `arrays` are whole.
    value: which number the parameter at a position has.
    """
    given, storages = torch_writer.tensors(arrays or {})
    values, tensors = {}, {}
    for number, (name, shape) in enumerate(shapes.items()):
        key, steps = str(1000 + number), (0,) * len(shape)
        values[name] = 1.0 if name == 'features.weight' else value(number)
        whole = name.endswith('num_batches_tracked')
        kind = (kinds or {}).get(name, 'Long' if whole else 'Float')
        tensors[name] = torch_writer.tensor(key, shape, steps, kind=kind, length=1)
        stored = {'Long': np.int64, 'Float': np.float32, 'Double': np.float64}[kind](values[name])
        storages[key] = stored.tobytes()
    tensors.update(given.items)
    return torch_writer.write_zip(path, tensors, storages), values
