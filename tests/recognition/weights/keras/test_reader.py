"""Files of Keras in every format: the layers and values that are read."""

from __future__ import annotations

import json
import re
import sys
import zipfile

import numpy as np
import pytest

from config.errors import CheckpointError, MissingExtra
from recognition.utils.packages import install_command
from recognition.weights.keras.reader import open_keras, split_number
from tests.helpers.keras_written import (
    CONFIG,
    KERNEL,
    NORM,
    ROLES,
    refused,
    summary,
    write_archive,
    write_named,
    write_numbered,
)

pytestmark = pytest.mark.usefixtures('hdf5_here')


@pytest.mark.parametrize('ending', [':0', ''])
def test_weights_by_name(written, ending):
    path = written(lambda file: write_named(file, ending=ending))
    assert summary(path) == [('stem_conv', None, ['kernel']), ('bn', None, list(ROLES))]
    with open_keras(path) as file:
        assert file.config == []
        np.testing.assert_array_equal(file.layers[0].variables['kernel'].read(), KERNEL)


def test_names_of_keras_1(written):
    def write(file):
        file.attrs['layer_names'] = [b'convolution2d_1', b'bn_1']
        conv, norm = file.create_group('convolution2d_1'), file.create_group('bn_1')
        conv.attrs['weight_names'] = [b'convolution2d_1_W:0', b'convolution2d_1_b:0']
        conv['convolution2d_1_W:0'], conv['convolution2d_1_b:0'] = KERNEL, NORM
        roles = ('gamma', 'beta', 'running_mean', 'running_std')
        norm.attrs['weight_names'] = [f'bn_1_{role}_1:0'.encode() for role in roles]
        for role in roles:
            norm[f'bn_1_{role}_1:0'] = NORM

    layers = summary(written(write))
    assert layers == [('convolution2d_1', None, ['kernel', 'bias']), ('bn_1', None, list(ROLES))]


def test_names_in_several_attributes(written):
    def write(file):
        write_named(file)
        names = file.attrs['layer_names']
        del file.attrs['layer_names']
        file.attrs['layer_names0'], file.attrs['layer_names1'] = names[:1], names[1:]

    assert [name for name, *_ in summary(written(write))] == ['stem_conv', 'bn']


def test_model_with_its_config(written):
    def write(file):
        file.attrs['model_config'] = json.dumps(CONFIG)
        write_named(file.create_group('model_weights'), ('first', 'norm', 'relu'))

    path = written(write)
    assert summary(path) == [('first', 'conv2d', ['kernel']), ('norm', 'batch_normalization', list(ROLES))]
    with open_keras(path) as file:
        assert [(layer.name, layer.inputs) for layer in file.config] == [
            ('input', ()),
            ('first', ('input',)),
            ('norm', ('first',)),
            ('second', ('norm',)),
        ]


@pytest.mark.parametrize('container', ['layers', '_layer_checkpoint_dependencies'])
def test_numbered_layers_in_the_order_of_their_numbers(written, container):
    """Not in that of the file, in which conv2d_10 may stand before conv2d_9."""
    path = written(lambda file: write_numbered(file, container))
    assert summary(path) == [
        (None, 'batch_normalization', ['0', '1', '2', '3']),
        (None, 'conv2d', ['0']),
        (None, 'conv2d', ['0']),
    ]
    with open_keras(path) as file:
        assert [layer.number for layer in file.layers] == [0, 0, 10]


def test_names_beside_numbers(written):
    names = {'conv2d': 'first', 'conv2d_10': 'a/b', 'batch_normalization': 'norm'}
    path = written(lambda file: write_numbered(file, names=names))
    assert [name for name, *_ in summary(path)] == ['norm', 'first', 'a_b']


@pytest.mark.parametrize('compression', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archive_has_the_names_of_its_config(path, compression):
    write_archive(path, compression=compression)
    assert [(name, kind) for name, kind, _ in summary(path)] == [
        ('norm', 'batch_normalization'),
        ('first', 'conv2d'),
        ('second', 'conv2d'),
    ]


def test_weights_inside_a_layer_are_seen(written):
    """A Dropout's random state, or a model in a model: whoever reads the file has no rule for them, and says so."""

    def write(file):
        write_numbered(file)
        file['layers/dropout/seed_generator/vars/0'] = NORM

    assert (None, 'dropout', ['seed_generator/vars/0']) in summary(written(write))


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('conv2d', ('conv2d', 0)),
        ('conv2d_1', ('conv2d', 1)),
        ('batch_normalization_189', ('batch_normalization', 189)),
        ('_1', ('_1', 0)),
    ],
)
def test_split_number(name, expected):
    assert split_number(name) == expected


@pytest.mark.parametrize('kind', [np.float16, np.float32, np.float64])
def test_floating_point_becomes_float32(written, kind):
    def write(file):
        write_numbered(file)
        del file['layers/conv2d/vars/0']
        file['layers/conv2d/vars/0'] = KERNEL.astype(kind)

    with open_keras(written(write)) as file:
        value = next(layer for layer in file.layers if layer.kind == 'conv2d').variables['0'].read()
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, KERNEL)


def test_theano_mirrors_its_kernels(written):
    def write(file):
        write_named(file)
        file.attrs['backend'] = b'theano'

    refused(written(write), 'Theano')


def test_without_h5py(written, monkeypatch):
    path = written(write_named)
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(MissingExtra, match=re.escape(install_command('keras'))), open_keras(path):
        pass


def test_file_is_closed(written):
    path = written(write_named)
    with open_keras(path) as file:
        variable = file.layers[0].variables['kernel']
    with pytest.raises(CheckpointError):
        variable.read()
    path.unlink()
