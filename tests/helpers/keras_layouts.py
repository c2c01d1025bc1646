"""Files as Keras wrote them, to be changed and written again (tests/reference/keras/layouts)."""

from __future__ import annotations

import io
import json
import zipfile

import h5py

from config import resolve
from recognition.weights.keras.mapping import read_keras
from tests.helpers import keras_written

WEIGHTS = 'article_xception.keras-2.12.0.weights'
MODEL = 'article_xception.keras-2.12.0.model'
NUMBERED = 'article_xception.keras-2.15.0.numbered'
ARCHIVE = 'article_xception.keras-3.15.1.archive'
NAMED = 'keras_xception.keras-2.12.0.model'
OLDER = tuple(f'keras_resnet50_elu.keras-3.15.1.{form}' for form in ('model', 'numbered'))  # Caffe's names
DENSE = 'dense_6'  # the classifier of article_xception


class Layout:
    """What Keras wrote into a file, to be changed and written again."""

    def __init__(self, folder, name):
        content = json.loads((folder / 'layouts' / f'{name}.json').read_text('utf-8'))
        row = json.loads((folder / f'{content["reference"]}.json').read_text('utf-8'))
        self.network, self.reference = content['network'], content['reference']
        self.config, self.groups, self.datasets = (
            content.get('config'),
            content['groups'],
            content['datasets'],
        )
        self.is_archive = name.endswith('archive')
        self.shapes = {key: tuple(shape) for key, shape in row['weights']}

    def layer(self, name):
        """Return a layer of the config."""
        return next(layer for layer in self.config['config']['layers'] if layer['config']['name'] == name)

    def of_layer(self, layer):
        """Return the paths of the layer's weights by what they are."""
        keys = {key: path for path, key in self.datasets.items()}
        return {key.split('|')[1]: path for key, path in keys.items() if key.split('|')[0] == layer}

    def remove(self, layer):
        """Take a layer with its weights out, config and lists of names included."""
        for path in self.of_layer(layer).values():
            del self.datasets[path]
        for attributes in self.groups.values():
            if layer in attributes.get('layer_names', ()):
                attributes['layer_names'].remove(layer)
        self.groups.pop(layer, None)
        if self.config:
            self.config['config']['layers'].remove(self.layer(layer))

    def add(self, layer, weights):
        """Put a layer with weights {name: shape} behind the others in a file of weights by name."""
        self.groups['']['layer_names'].append(layer)
        self.groups[layer] = {'weight_names': [f'{layer}/{weight}:0' for weight in weights]}
        for weight, shape in weights.items():
            self.datasets[f'{layer}/{layer}/{weight}:0'] = f'{layer}|{weight}'
            self.shapes[f'{layer}|{weight}'] = shape

    def write(self, path, values=None, *, number=lambda key: 0):
        """Write the file; without values (a dict by key) all of a weight are its `number`, and take no room."""
        content = io.BytesIO() if self.is_archive else path
        with h5py.File(content, 'w') as file:
            for name, attributes in self.groups.items():
                group = file.require_group(name or '/')
                for key, value in attributes.items():
                    group.attrs[key] = [n.encode() for n in value] if isinstance(value, list) else value
            if self.config and not self.is_archive:
                file.attrs['model_config'] = json.dumps(self.config)
            for name, key in self.datasets.items():
                if values is None:
                    file.create_dataset(name, self.shapes[key], 'f4', fillvalue=number(key))
                else:
                    file[name] = values[key]
        if self.is_archive:
            with zipfile.ZipFile(path, 'w') as archive:
                archive.writestr('config.json', json.dumps(self.config))
                archive.writestr('model.weights.h5', content.getvalue())
        return path


def config_of(network, **overrides):
    return resolve(network, **{'image_shape': (112, 112, 3), **overrides})


def refused(path, cfg, *words):
    """Check that the file is refused for a network in one sentence with its name and these words; return it."""
    return keras_written.refused(path, *words, read=lambda path: read_keras(path, cfg))
