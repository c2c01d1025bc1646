"""Files of Keras that are made to fill the memory, or to lead to other files."""

from __future__ import annotations

import zipfile

import h5py
import pytest

from recognition.weights.keras.reader import open_keras
from tests.helpers.keras_written import KERNEL, refused, write_archive, write_named, write_numbered

pytestmark = pytest.mark.usefixtures('hdf5_here')


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
