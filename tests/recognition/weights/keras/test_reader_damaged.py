"""Files of Keras that are damaged, or something else: each is refused in one sentence."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from tests.helpers.keras_written import CONFIG, KERNEL, refused, write_archive, write_named, write_numbered

pytestmark = pytest.mark.usefixtures('hdf5_here')


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        (KERNEL.astype(np.int32), 'int32'),
        (KERNEL * np.nan, 'not finite'),
        (KERNEL.astype(np.float64) + 1e300, 'not finite'),
        (np.full(KERNEL.shape, b'x'), 'floating point'),
    ],
)
def test_values_that_are_no_weights(written, value, words):
    def write(file):
        write_numbered(file)
        del file['layers/conv2d/vars/0']
        file['layers/conv2d/vars/0'] = value

    refused(written(write), words, 'conv2d/vars/0')


def test_missing_file(path):
    refused(path, 'No such file')


def test_folder(path):
    path.mkdir()
    refused(path, 'directory')


@pytest.mark.parametrize(
    'content', [b'', b'\x89HDF\r\n\x1a', b'weights', b'\x80\x04}', b'{"weight_map": {}}']
)
def test_another_format(path, content):
    path.write_bytes(content)
    refused(path, 'neither HDF5 nor a zip')


@pytest.mark.parametrize('share', [0.02, 0.5, 0.99])
@pytest.mark.parametrize('write', [write_named, write_numbered])
def test_truncated_hdf5(written, share, write):
    content = written(write).read_bytes()
    path = written(write)
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, 'damaged')


@pytest.mark.parametrize('share', [0.02, 0.5, 0.99])
def test_truncated_archive(path, share):
    write_archive(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, 'damaged')


@pytest.mark.parametrize('position', range(4))
def test_flipped_magic(written, position):
    path = written(write_named)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    refused(path, 'neither HDF5 nor a zip')


def test_flipped_bit_in_an_archive(path):
    """The zip's checksum tells, in the values as well."""
    write_archive(path)
    content = bytearray(path.read_bytes())
    content[content.index(KERNEL.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    refused(path, 'damaged', 'CRC')


def test_hdf5_of_something_else(written):
    refused(
        written(lambda file: file.create_dataset('embeddings', data=KERNEL)), 'no layers of a Keras model'
    )


@pytest.mark.parametrize(
    ('config', 'weights', 'words'),
    [
        (None, write_numbered, 'config.json'),
        (CONFIG, None, 'model.weights.h5'),
        ('{"config": ', write_numbered, 'damaged'),
        ('[' * 100_000, write_numbered, 'damaged'),
        ({'config': {'layers': [{'class_name': 'Conv2D'}]}}, write_numbered, 'damaged'),
        ({'config': {'layers': CONFIG['config']['layers'][:3]}}, write_numbered, 'has 1 layers conv2d'),
        (CONFIG, lambda file: None, 'no layers of a Keras model'),
    ],
)
def test_faulty_archives(path, config, weights, words):
    write_archive(path, config, weights)
    refused(path, words)


def test_named_weight_that_is_not_there(written):
    def write(file):
        write_named(file)
        del file['bn/bn/gamma:0']

    refused(written(write), 'damaged', 'gamma')


@pytest.mark.parametrize('names', [[1, 2], [[b'a'], [b'b']], np.full(100_001, b'a')])
def test_attribute_that_is_no_list_of_names(path, names):
    with h5py.File(path, 'w', libver='latest') as file:
        write_named(file)
        file.attrs['layer_names'] = names
    refused(path, 'damaged')
