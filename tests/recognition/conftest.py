"""What tests of training and of foreign files share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A data set with one set of pairs, `val.bin` (tests.recognition.training)."""
    from tests.helpers.training import write_faces

    return write_faces(tmp_path_factory.mktemp('faces'))


@pytest.fixture
def small_chunks(monkeypatch):
    """Let the rows of a shard come in several chunks, the last of another size."""
    from recognition.classifier import shard

    monkeypatch.setattr(shard, 'CHUNK', 5)


@pytest.fixture
def hdf5_here(monkeypatch):
    """Spare the process that looks at a file first; test_hdf5_check.py is about it."""
    from recognition.weights.keras import reader as keras_files

    monkeypatch.setattr(keras_files, 'check_hdf5', lambda source, name: None)


@pytest.fixture
def path(tmp_path):
    """Where a test's file of Keras is: its content tells of which format it is, and its name does not."""
    return tmp_path / 'weights.file'


@pytest.fixture
def written(path):
    """Return a function: writes a file with a function of an h5py file, and returns its path."""
    import h5py

    def write(function):
        with h5py.File(path, 'w') as file:
            function(file)
        return path

    return write


@pytest.fixture
def layout(reference):
    """Return a function: name -> what Keras wrote into a file, to be changed."""
    from tests.helpers.keras_layouts import Layout

    return lambda name: Layout(reference / 'keras', name)


@pytest.fixture
def saved(tmp_path):
    """Return the prefix of a tiny network's checkpoint, of epoch 1, for images of 32x32."""
    from tests.helpers.exported import save_tiny

    return save_tiny(tmp_path / 'model')
