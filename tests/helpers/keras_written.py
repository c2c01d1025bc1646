"""Small files in the formats of Keras, and what is read of them."""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.weights.keras.reader import open_keras

KERNEL = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
NORM = np.ones(3, np.float32)
KEYS = ('conv2d', 'conv2d_10', 'batch_normalization')
ROLES = ('gamma', 'beta', 'moving_mean', 'moving_variance')
CONFIG = {
    'class_name': 'Functional',
    'config': {
        'layers': [
            {'class_name': 'InputLayer', 'config': {'name': 'input'}, 'inbound_nodes': []},
            {'class_name': 'Conv2D', 'config': {'name': 'first'}, 'inbound_nodes': [[['input', 0, 0, {}]]]},
            {
                'class_name': 'BatchNormalization',
                'config': {'name': 'norm'},
                'inbound_nodes': [[['first', 0, 0]]],
            },
            {
                'class_name': 'Conv2D',
                'config': {'name': 'second'},
                'inbound_nodes': [
                    {
                        'args': [
                            [{'class_name': '__keras_tensor__', 'config': {'keras_history': ['norm', 0, 0]}}]
                        ]
                    }
                ],
            },
        ]
    },
}


def write_named(file, names=('stem/conv', 'bn', 'relu'), ending=':0'):
    """Write layers as Keras 2 does: a convolution, a batch norm, and one without weights."""
    file.attrs['layer_names'] = [name.encode() for name in names]
    file.attrs['backend'] = 'tensorflow'
    weights = {names[0]: {'kernel': KERNEL}, names[1]: dict.fromkeys(ROLES, NORM), names[2]: {}}
    for name, held in weights.items():
        group = file.create_group(name)
        group.attrs['weight_names'] = [f'{name}/{role}{ending}'.encode() for role in held]
        for role, value in held.items():
            group[f'{name}/{role}{ending}'] = value


def write_numbered(file, container='layers', names=None):
    """Write two convolutions and a batch norm as Keras 3 does."""
    for key, held in {'conv2d': [KERNEL], 'conv2d_10': [KERNEL], 'batch_normalization': [NORM] * 4}.items():
        group = file.create_group(f'{container}/{key}/vars')
        if names:
            group.attrs['name'] = names[key]
        for index, value in enumerate(held):
            group[str(index)] = value
    file.create_group(f'{container}/activation/vars')
    file['optimizer/vars/0'] = NORM


def write_archive(path, config=CONFIG, weights=write_numbered, compression=zipfile.ZIP_STORED):
    """Write a .keras file; `config` None leaves its member out, `weights` None the weights."""
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr('metadata.json', '{}')
        if config is not None:
            archive.writestr('config.json', config if isinstance(config, str) else json.dumps(config))
        if weights:
            content = io.BytesIO()
            with h5py.File(content, 'w') as file:
                weights(file)
            archive.writestr('model.weights.h5', content.getvalue())


def summary(path):
    """Return (name, class, weights) of all layers."""
    with open_keras(path) as file:
        return [(layer.name, layer.kind, list(layer.variables)) for layer in file.layers]


def read_all(path):
    with open_keras(path) as file:
        return [variable.read() for layer in file.layers for variable in layer.variables.values()]


def refused(path, *words, read=read_all):
    """Check that the file is refused in one sentence that has its name and these words."""
    with pytest.raises(CheckpointError) as caught:
        read(path)
    text = str(caught.value)
    assert str(path) in text
    assert '\n' not in text
    for word in words:
        assert word in text
    return text
