"""PyTorch checkpoints that are written here; PyTorch's own reading of them is in test_arcface_torch_outputs.py."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.weights.torch.state_dict import read_records, read_state_dict
from recognition.weights.torch.writer import write_state_dict
from tests.helpers import torch_writer
from tests.helpers.state_dicts import ARRAYS, FLOATS, check


def test_what_is_written_is_read_with_its_records(tmp_path):
    path = tmp_path / 'b.pth'
    write_state_dict(path, ARRAYS, {'mine/a': b'1', 'mine/b/c': b'', 'other/a': b'2'})
    check(read_state_dict(path), ARRAYS)
    assert read_records(path, 'mine') == {'a': b'1', 'b/c': b''}
    assert read_records(path, 'none') == {}


def test_the_older_format_has_no_records(tmp_path):
    path = torch_writer.write_older(tmp_path / 'b.pth', *torch_writer.tensors(FLOATS))
    assert read_records(path, 'mine') == {}


def test_records_of_a_file_that_cannot_be_read(tmp_path):
    path = tmp_path / 'b.pth'
    with pytest.raises(CheckpointError, match=r'b\.pth cannot be read: No such file'):
        read_records(path, 'mine')
    write_state_dict(path, FLOATS, {'mine/a': bytes(1000)})
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes(900), bytes(899) + b'x'))
    with pytest.raises(CheckpointError, match="'mine/a' cannot be read"):
        read_records(path, 'mine')
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', torch_writer.pickled({}), zipfile.ZIP_STORED)
        archive.writestr('archive/mine/a', bytes(10**6))
    with pytest.raises(CheckpointError, match="'mine/a' is compressed"):
        read_records(path, 'mine')


def test_storages_are_the_arrays_themselves():
    for array, storage in zip(FLOATS.values(), torch_writer.tensors(FLOATS)[1].values()):
        assert np.shares_memory(array, np.asarray(storage))
