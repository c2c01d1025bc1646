"""Weights of Keras's networks as tests/reference/README.md prescribes them, and files of them."""

from __future__ import annotations

import json
from math import prod
from zlib import crc32

import h5py
import numpy as np


def value_of(key, shape, numbers=None):
    """Return the values of a weight, `layer|weight`; `numbers`: recorded moving statistics."""
    weight = key.split('|')[1]
    if numbers is not None and weight.startswith('moving_'):
        return numbers[key]
    rng = np.random.RandomState(crc32(key.encode()) & 0x7FFFFFFF)
    if weight == 'gamma':
        values = rng.uniform(0.7, 1.3, shape)
    elif weight == 'moving_variance':
        values = rng.uniform(0.5, 1.5, shape)
    elif weight in ('beta', 'bias', 'moving_mean'):
        values = rng.randn(*shape) * 0.1
    else:
        values = rng.randn(*shape) * np.sqrt(2 / prod(shape[: 2 if weight == 'depthwise_kernel' else -1]))
    return values.astype(np.float32)


def drawn(folder, reference):
    """Return all values of a reference by key, with its recorded moving statistics."""
    numbers = np.load(folder / f'{reference}.npz')
    weights = json.loads((folder / f'{reference}.json').read_text('utf-8'))['weights']
    return {key: value_of(key, shape, numbers) for key, shape in weights}


def write_weights(path, values):
    """Write values by `layer|weight` in the HDF5 layout of Keras 2's save_weights."""
    layers = {}
    for key, value in values.items():
        layer, weight = key.split('|')
        layers.setdefault(layer, {})[weight] = value
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [name.encode() for name in layers]
        for name, weights in layers.items():
            group = file.create_group(name)
            group.attrs['weight_names'] = [f'{name}/{role}:0'.encode() for role in weights]
            for role, value in weights.items():
                group[f'{name}/{role}:0'] = value
    return path


ROLES = {'weight': 'kernel', 'moving_var': 'moving_variance'}  # others have the same name there
AXES = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}  # of our arrays, in the order of Keras's


def key_of(parameter):
    """Return Keras's `layer|weight` of a parameter whose layer Keras does not number."""
    endings = ('weight', 'bias', 'gamma', 'beta', 'moving_mean', 'moving_var')
    role = next(role for role in endings if parameter.endswith(f'_{role}'))
    layer = parameter[: -len(role) - 1]
    return f'{"predictions" if layer == "fc1" else layer}|{ROLES.get(role, role)}'
