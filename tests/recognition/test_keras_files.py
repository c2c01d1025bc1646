"""Files of Keras as they are, and as they may be when they are damaged or made to do harm."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import h5py
import numpy as np
import pytest

from config.errors import CheckpointError, MissingExtra
from recognition import hdf5_check, keras_files
from recognition.keras_files import open_keras, split_number

KERNEL = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
NORM = np.ones(3, np.float32)
CRASH = 'import os; os.kill(os.getpid(), 11)'
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


@pytest.fixture(autouse=True)
def hdf5_here(request, monkeypatch):
    """Spare the process that looks at a file first, but for the tests that are about it."""
    if 'hdf5_in_a_process' not in request.fixturenames:
        monkeypatch.setattr(keras_files, 'check_hdf5', lambda source, name: None)


@pytest.fixture
def hdf5_in_a_process():
    """Look at every file in a process of its own first, as is done outside these tests."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'model.h5'


@pytest.fixture
def written(path):
    """Return a function: writes a file with a function of an h5py file, and returns its path."""

    def write(function):
        with h5py.File(path, 'w') as file:
            function(file)
        return path

    return write


def read_all(path):
    with open_keras(path) as file:
        return [variable.read() for layer in file.layers for variable in layer.variables.values()]


def refused(path, *words):
    """Check that the file is refused in one sentence that has its name and these words."""
    with pytest.raises(CheckpointError) as caught:
        read_all(path)
    text = str(caught.value)
    assert str(path) in text
    assert '\n' not in text
    for word in words:
        assert word in text
    return text


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


@pytest.mark.parametrize('write', [write_named, write_numbered])
def test_random_damage_is_one_sentence(written, write, hdf5_in_a_process, monkeypatch):
    """Bytes of the structure at random: no other error comes out, and the library of HDF5 takes nobody with it."""
    monkeypatch.setattr(hdf5_check, 'SECONDS', 2)
    path = written(write)
    content = path.read_bytes()
    rng = np.random.RandomState(1)
    faults = 0
    for _ in range(6):
        damaged = bytearray(content)
        for position in rng.randint(8, len(content), 30):
            damaged[position] = rng.randint(256)
        path.write_bytes(damaged)
        try:
            read_all(path)
        except CheckpointError:
            faults += 1
    assert faults


@pytest.mark.parametrize(
    ('probe', 'words'),
    [(CRASH, 'crashes'), ('import time; time.sleep(60)', 'does not come to an end')],
)
def test_file_that_hdf5_does_not_survive(written, monkeypatch, hdf5_in_a_process, probe, words):
    monkeypatch.setattr(hdf5_check, 'PROBE', probe)
    monkeypatch.setattr(hdf5_check, 'SECONDS', 0.5)
    refused(written(write_named), words)


def test_probe_reads_the_structure(written, path, monkeypatch, hdf5_in_a_process):
    """It sees every attribute, of a file and of what stands in an archive."""
    monkeypatch.setattr(hdf5_check, 'PROBE', hdf5_check.PROBE.replace('item.attrs[attribute]', CRASH))
    refused(written(write_named), 'crashes')
    assert summary(written(write_numbered))
    write_archive(path, weights=lambda file: write_numbered(file, names=dict.fromkeys(KEYS, 'a')))
    refused(path, 'crashes')


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


def test_archive_that_would_fill_the_memory(path):
    """Zeros pack a thousandfold; they are not unpacked."""
    write_archive(path, ' ' * 30_000_000, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    refused(path, '30000000 bytes', 'too much')


def test_encrypted_archive(path):
    write_archive(path)
    content = bytearray(path.read_bytes())
    for header, flags in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        position = -1
        while (position := content.find(header, position + 1)) >= 0:
            content[position + flags] |= 1
    path.write_bytes(content)
    refused(path, 'encrypted')


def test_shape_that_would_fill_the_memory_is_not_read(written):
    """It is known before anything is read."""

    def write(file):
        write_numbered(file)
        del file['layers/conv2d/vars/0']
        file.create_dataset('layers/conv2d/vars/0', (1 << 20, 1 << 20), 'f4', chunks=(1 << 10, 1 << 10))

    with open_keras(written(write)) as file:
        shapes = [layer.variables['0'].shape for layer in file.layers if layer.kind == 'conv2d']
    assert shapes == [(1 << 20, 1 << 20), KERNEL.shape]


def other_file(path):
    """Write weights that no other file may lead to."""
    other = path.with_name('other.h5')
    with h5py.File(other, 'w') as file:
        file['kernel'] = KERNEL
    return other


def test_links_are_not_followed(written, path):
    def write(file):
        write_named(file)
        name = 'stem/conv/stem/conv/kernel:0'
        del file[name]
        file[name] = h5py.ExternalLink(str(other_file(path)), 'kernel')

    refused(written(write), 'lies elsewhere')


def test_linked_groups_are_not_followed(written, path):
    def write(file):
        write_numbered(file)
        file['layers/dense'] = h5py.SoftLink('/optimizer')

    refused(written(write), 'dense', 'lies elsewhere')


def test_external_values_are_not_read(written, path):
    (path.parent / 'secret').write_bytes(KERNEL.tobytes())

    def write(file):
        write_numbered(file)
        del file['layers/conv2d/vars/0']
        external = [(str(path.parent / 'secret'), 0, KERNEL.nbytes)]
        file.create_dataset('layers/conv2d/vars/0', KERNEL.shape, 'f4', external=external)

    refused(written(write), 'lies in another file')


def test_virtual_values_are_not_read(written, path):
    def write(file):
        write_numbered(file)
        del file['layers/conv2d/vars/0']
        layout = h5py.VirtualLayout(KERNEL.shape, 'f4')
        layout[...] = h5py.VirtualSource(str(other_file(path)), 'kernel', KERNEL.shape)
        file.create_virtual_dataset('layers/conv2d/vars/0', layout)

    refused(written(write), 'lies in another file')


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


def test_theano_mirrors_its_kernels(written):
    def write(file):
        write_named(file)
        file.attrs['backend'] = b'theano'

    refused(written(write), 'Theano')


def test_without_h5py(written, monkeypatch):
    path = written(write_named)
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(MissingExtra, match=r"pip install 'facesymbols\[keras\]'"), open_keras(path):
        pass


def test_file_is_closed(written):
    path = written(write_named)
    with open_keras(path) as file:
        variable = file.layers[0].variables['kernel']
    with pytest.raises(CheckpointError):
        variable.read()
    path.unlink()
