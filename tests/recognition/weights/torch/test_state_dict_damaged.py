"""PyTorch checkpoints that are damaged, or not what they say: lengths, records, sizes, other formats."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from config import CheckpointError
from recognition.weights.torch.state_dict import read_state_dict
from tests.helpers import torch_writer
from tests.helpers.state_dicts import FLOATS, RNG, message


@pytest.mark.parametrize('length', [3, 5, 2**40, 2**63 - 1, -1, True])
@pytest.mark.parametrize('older', [False, True])
def test_a_lying_length(tmp_path, length, older):
    value = {'w': torch_writer.tensor('0', (4,), length=length)}
    write = torch_writer.write_older if older else torch_writer.write_zip
    assert 'damaged' in message(write(tmp_path / 'b.pt', value, {'0': bytes(16)}))


@pytest.mark.parametrize('length', [3, 5, 2**40, -1])
def test_a_length_that_lies_beside_the_values(tmp_path, length):
    value, storages = {'w': torch_writer.tensor('0', (4,))}, {'0': bytes(16)}
    assert 'is not whole' in message(
        torch_writer.write_older(tmp_path / 'b.pt', value, storages, lengths={'0': length})
    )


@pytest.mark.parametrize('listed', [[], ['0', '0'], ['0', '1'], [0], 7, ['0', {}]])
def test_an_older_file_lists_its_storages(tmp_path, listed):
    parts = [*torch_writer.OLDER_START, {'w': torch_writer.tensor('0', (1,))}, listed]
    path = tmp_path / 'b.pth'
    path.write_bytes(b''.join(map(torch_writer.pickled, parts)) + bytes(8))
    assert 'other storages' in message(path)


def test_an_older_file_of_another_version(tmp_path):
    magic, _, machine = torch_writer.OLDER_START
    path = torch_writer.write_older(tmp_path / 'b.pth', {}, {}, start=(magic, 1002, machine))
    assert 'unknown version' in message(path)


def test_a_missing_record(tmp_path):
    path = torch_writer.write_zip(tmp_path / 'b.pt', {'w': torch_writer.tensor('0', (4,))}, {})
    assert "it lacks the record 'data/0'" in message(path)


def test_records_are_looked_up_by_name_alone(tmp_path):
    (tmp_path / 'secret').write_bytes(bytes(16))
    value = {'w': torch_writer.tensor('../../secret', (4,))}
    assert "it lacks the record 'data/../../secret'" in message(
        torch_writer.write_zip(tmp_path / 'b.pt', value, {})
    )


@pytest.mark.parametrize('name', ['data.pkl', 'data/0'])
def test_compressed_records_are_refused(tmp_path, name):
    contents = {
        'data.pkl': torch_writer.pickled({'w': torch_writer.tensor('0', (100,))}),
        'data/0': RNG.bytes(400),
    }
    path = tmp_path / 'b.pt'
    with zipfile.ZipFile(path, 'w') as archive:
        for record, content in contents.items():
            compression = zipfile.ZIP_DEFLATED if record == name else zipfile.ZIP_STORED
            archive.writestr(f'archive/{record}', content, compression)
    assert f'refused: the record {name!r} is compressed' in message(path)


@pytest.mark.parametrize('what', ['pickle', 'storage'])
def test_a_small_file_that_is_large_once_unpacked(tmp_path, what):
    value = {'w': torch_writer.tensor('0', (10**6,))}
    pickled = torch_writer.pickled(value) if what == 'storage' else b'\x80\2' + b'}' * 4 * 10**6
    storages = {'0': bytes(4 * 10**6)}
    path = torch_writer.write_zip(tmp_path / 'b.pt', pickled, storages, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    assert 'is compressed' in message(path)


def test_no_pickle_is_as_large_as_weights(tmp_path):
    path = torch_writer.write_zip(tmp_path / 'b.pt', b'\x80\2' + b'}' * 2**24, {})
    assert "the record 'data.pkl' states a size" in message(path)


def test_records_in_one_place(tmp_path):
    """The directory names the same bytes many times: a small file that would be large in memory."""
    keys = [f'{number:03}' for number in range(100)]
    value = {key: torch_writer.tensor(key, (10**5,)) for key in keys}
    path = torch_writer.write_zip(
        tmp_path / 'bomb.pt', value, {**dict.fromkeys(keys[1:], b''), keys[0]: bytes(4 * 10**5)}
    )
    with zipfile.ZipFile(path, 'a') as archive:
        first = archive.getinfo(f'archive/data/{keys[0]}')
        for key in keys[1:]:
            info = archive.getinfo(f'archive/data/{key}')
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = first.file_size
        archive.writestr('archive/again', b'')
    assert 'damaged' in message(path)


def test_a_size_beyond_the_file(tmp_path):
    path = torch_writer.write_zip(
        tmp_path / 'b.pt', {'w': torch_writer.tensor('0', (10**9,))}, {'0': bytes(16)}
    )
    with zipfile.ZipFile(path, 'a') as archive:
        info = archive.getinfo('archive/data/0')
        info.file_size = info.compress_size = 4 * 10**9
        archive.writestr('archive/again', b'')
    assert 'damaged' in message(path)


def test_zip_files_of_other_programs(tmp_path):
    path = tmp_path / 'b.zip'
    for names in (['a.txt'], ['a/data.pkl', 'b/data.pkl'], ['data.pkl'], ['a/b/data.pkl']):
        with zipfile.ZipFile(path, 'w') as archive:
            for name in names:
                archive.writestr(name, torch_writer.pickled({}))
        assert 'no single data.pkl' in message(path)


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_a_record_that_stands_twice(tmp_path):
    path = torch_writer.write_zip(tmp_path / 'b.pt', *torch_writer.tensors(FLOATS))
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('archive/data/0', bytes(16))
    assert 'no single data.pkl' in message(path)


@pytest.mark.parametrize('older', [False, True])
def test_a_file_that_was_cut_short(tmp_path, older):
    write = torch_writer.write_older if older else torch_writer.write_zip
    content = write(tmp_path / 'b.pt', *torch_writer.tensors(FLOATS)).read_bytes()
    path = tmp_path / 'cut.pt'
    for length in range(0, len(content), 9):
        path.write_bytes(content[:length])
        text = message(path)
        # a name that was cut short is a name that is not known
        assert 'damaged' in text or (older and 'wants to run' in text)


@pytest.mark.parametrize('older', [False, True])
def test_a_file_with_a_wrong_byte_is_read_or_refused(tmp_path, older):
    write = torch_writer.write_older if older else torch_writer.write_zip
    small = {'a.weight': np.ones((2, 2), 'f4'), 'b': np.zeros(3, 'f4')}
    content = bytearray(write(tmp_path / 'b.pt', *torch_writer.tensors(small)).read_bytes())
    path = tmp_path / 'wrong.pt'
    refused = 0
    places = range(0, len(content), 3)
    for place in places:
        kept, content[place] = content[place], RNG.randint(256)
        path.write_bytes(content)
        content[place] = kept
        try:
            read_state_dict(path)
        except CheckpointError:
            refused += 1
    assert refused > len(places) / 3


def test_files_that_are_not_there(tmp_path):
    assert 'cannot be read: No such file' in message(tmp_path / 'missing.pt')
    assert 'cannot be read: Is a directory' in message(tmp_path)


@pytest.mark.parametrize('content', [b'', b'PK\3\4', b'\x89HDF\r\n', b'text\n' * 9, bytes(99), b'\x80\2K\1.'])
def test_files_of_other_kinds(tmp_path, content):
    path = tmp_path / 'b.pth'
    path.write_bytes(content)
    assert 'not a checkpoint of PyTorch' in message(path) or content.startswith(b'PK')
