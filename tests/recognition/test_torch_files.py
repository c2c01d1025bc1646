"""PyTorch checkpoints without PyTorch: what is read, and what is refused."""

from __future__ import annotations

import pickle
import resource
import zipfile

import numpy as np
import pytest

from config import CheckpointError
from recognition.torch_files import read_state_dict

RNG = np.random.RandomState(5)
ARRAYS = {
    'conv.weight': RNG.randn(4, 3, 3, 3).astype('f4'),
    'bn.running_var': RNG.rand(4).astype('f4'),
    'fc.weight': RNG.randn(2, 4).astype('f2'),
    'double': RNG.randn(3, 2),
    'bn.num_batches_tracked': np.array(12345678901, 'i8'),
    'bytes': np.arange(250, 256, dtype='u1'),
}
FLOATS = {name: array for name, array in ARRAYS.items() if array.dtype == np.float32}


def message(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path)
    text = str(caught.value)
    assert text.startswith(f'{path}: ')
    assert '\n' not in text
    assert len(text) < 400 + len(str(path))
    return text


def check(found, expected) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)


@pytest.mark.parametrize('root', ['archive', 'backbone', 'a.b c'])
def test_a_zip_file(tmp_path, torch_writer, root):
    check(
        read_state_dict(torch_writer.write_zip(tmp_path / 'b.pt', *torch_writer.weights(ARRAYS), root=root)),
        ARRAYS,
    )


def test_a_file_from_before_there_was_a_byte_order(tmp_path, torch_writer):
    path = torch_writer.write_zip(tmp_path / 'b.pt', *torch_writer.weights(ARRAYS), order=None)
    check(read_state_dict(path), ARRAYS)


def test_a_file_from_a_big_endian_machine(tmp_path, torch_writer):
    value, storages = torch_writer.weights(ARRAYS)
    swapped = {
        key: array.astype(array.dtype.newbyteorder('>')).tobytes()
        for key, array in zip(storages, ARRAYS.values())
    }
    check(read_state_dict(torch_writer.write_zip(tmp_path / 'b.pt', value, swapped, order=b'big')), ARRAYS)
    path = torch_writer.write_zip(tmp_path / 'm.pt', value, swapped, order=b'middle')
    assert 'its byte order is' in message(path)


@pytest.mark.parametrize('view', [(), (None,)])
def test_a_file_from_before_the_zip_format(tmp_path, torch_writer, view):
    value, storages = torch_writer.weights(FLOATS, view)
    check(read_state_dict(torch_writer.write_older(tmp_path / 'b.pth', value, storages)), FLOATS)


def test_bfloat16(tmp_path, torch_writer):
    halves = np.array([0x3F80, 0xC000, 0x3DCD, 0x7F80], '<u2')
    value = {'w': torch_writer.tensor('0', (4,), kind='BFloat16')}
    (found,) = read_state_dict(
        torch_writer.write_zip(tmp_path / 'b.pt', value, {'0': halves.tobytes()})
    ).values()
    np.testing.assert_array_equal(found, np.array([1, -2, 0.10009765625, np.inf], np.float32))
    assert found.dtype == np.float32


def test_truth_values_and_small_integers(tmp_path, torch_writer):
    value = {
        'b': torch_writer.tensor('0', (3,), kind='Bool'),
        'c': torch_writer.tensor('1', (2,), kind='Char'),
    }
    found = read_state_dict(
        torch_writer.write_zip(tmp_path / 'b.pt', value, {'0': b'\0\1\2', '1': b'\xff\1'})
    )
    check(found, {'b': np.array([False, True, True]), 'c': np.array([-1, 1], np.int8)})


def test_views_of_one_storage(tmp_path, torch_writer):
    stored = np.arange(24, dtype='f4')

    def view(size, strides, offset=0):
        return torch_writer.tensor('7', size, strides, length=24, offset=offset)

    value = {
        'whole': view((4, 6), (6, 1)),
        'transposed': view((6, 4), (1, 6)),
        'every second from 3': view((10,), (2,), 3),
        'last': view((), (), 23),
        'expanded': view((3, 2), (0, 1), 4),
        'empty': view((0, 5), (5, 1), 24),
    }
    found = read_state_dict(torch_writer.write_zip(tmp_path / 'b.pt', value, {'7': stored.tobytes()}))
    whole = stored.reshape(4, 6)
    check(
        found,
        {
            'whole': whole,
            'transposed': whole.T,
            'every second from 3': stored[3:23:2],
            'last': np.float32(23),
            'expanded': np.array([[4, 5]] * 3, 'f4'),
            'empty': np.empty((0, 5), 'f4'),
        },
    )
    assert not any(array.flags.writeable for name, array in found.items() if name != 'empty')


@pytest.mark.parametrize(
    ('size', 'strides', 'offset'),
    [
        ((24,), (1,), 1),
        ((4, 6), (7, 1), 0),
        ((), (), 24),
        ((1,), (0,), 2**62),
        ((2,), (2**62,), 0),
        ((2**62,), (0,), 0),
        ((0, 2**62), (1, 1), 0),
        ((1,) * 40, (1,) * 40, 0),
    ],
)
def test_views_beyond_their_storage(tmp_path, torch_writer, size, strides, offset):
    value = {'w': torch_writer.tensor('7', size, strides, length=24, offset=offset)}
    assert 'damaged' in message(torch_writer.write_zip(tmp_path / 'b.pt', value, {'7': bytes(96)}))


@pytest.mark.parametrize(
    'change',
    [
        {'size': (-1,)},
        {'size': [4]},
        {'size': (2.0,)},
        {'strides': (1, 1)},
        {'strides': (-1,)},
        {'offset': -1},
        {'offset': True},
        {'size': (2**70,)},
    ],
)
def test_tensors_of_strange_numbers(tmp_path, torch_writer, change):
    value = torch_writer.tensor('0', (4,))
    given = dict(zip(('storage', 'offset', 'size', 'strides'), value.arguments), **change)
    value = {'w': value._replace(arguments=(*given.values(), False, None))}
    assert 'in an unknown way' in message(torch_writer.write_zip(tmp_path / 'b.pt', value, {'0': bytes(16)}))


def test_a_parameter_is_its_tensor(tmp_path, torch_writer):
    value = torch_writer.Call(
        torch_writer.Name('torch._utils', '_rebuild_parameter'), (torch_writer.tensor('0', (2,)), True, None)
    )
    path = torch_writer.write_zip(tmp_path / 'b.pt', {'w': value}, {'0': np.ones(2, 'f4').tobytes()})
    check(read_state_dict(path), {'w': np.ones(2, 'f4')})


@pytest.mark.parametrize('key', ['state_dict_backbone', 'state_dict'])
def test_a_training_checkpoint_is_unwrapped(tmp_path, torch_writer, key):
    tensors, storages = torch_writer.weights(FLOATS)
    storages['9'] = bytes(8)
    value = {
        'epoch': 3,
        'lr': [0.1, None, True],
        'state_optimizer': {'state': {0: {'momentum_buffer': torch_writer.tensor('9', (2,))}}},
        key: tensors,
    }
    check(read_state_dict(torch_writer.write_zip(tmp_path / 'b.pt', value, storages)), FLOATS)


def test_the_backbone_comes_before_other_weights(tmp_path, torch_writer):
    tensors, storages = torch_writer.weights(FLOATS)
    value = {'state_dict': {'w': torch_writer.tensor('0', (1,))}, 'state_dict_backbone': tensors}
    path = torch_writer.write_zip(tmp_path / 'b.pt', value, storages)
    assert 'two kinds of storage' in message(path)
    value['state_dict'] = {}
    check(read_state_dict(torch_writer.write_zip(path, value, storages)), FLOATS)


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_prefixes_that_all_names_have_are_taken_off(tmp_path, torch_writer, prefix):
    given = {prefix + name: array for name, array in FLOATS.items()}
    path = torch_writer.write_zip(tmp_path / 'b.pt', *torch_writer.weights(given))
    check(read_state_dict(path), FLOATS)
    given['conv1.weight'] = FLOATS['bn.running_var']
    path = torch_writer.write_zip(tmp_path / 'c.pt', *torch_writer.weights(given))
    check(read_state_dict(path), given)


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        ([], 'it holds a list'),
        (7, 'it holds a int'),
        ({}, 'it holds no weights'),
        ({'state_dict': {}}, 'it holds no weights'),
        (
            {'model': {}, 'epoch': 1},
            "'model' is a dict (its keys are 'model', 'epoch', ...; weights are looked for",
        ),
        ({'state_dict': {'w': 'text'}}, "'w' is a str"),
        ({3: 4}, '3 is a int'),
    ],
)
def test_what_holds_no_weights(tmp_path, torch_writer, value, words):
    assert words in message(torch_writer.write_zip(tmp_path / 'b.pt', value, {}))


# --- files that want more than to be read

CALLS = {
    'posix.system': ('posix', 'system', ('touch was_here',)),
    'os.system': ('os', 'system', ('touch was_here',)),
    'builtins.eval': ('builtins', 'eval', ("open('was_here', 'w')",)),
    'torch.load': ('torch', 'load', ('other.pt',)),
    'torch.jit.load': ('torch.jit', 'load', ()),
    'backbones.iresnet.IResNet': ('backbones.iresnet', 'IResNet', ()),
    'torch._utils._rebuild_tensor_v2.__globals__': ('torch._utils', '_rebuild_tensor_v2.__globals__', ()),
    'collections.OrderedDict.__init__': ('collections', 'OrderedDict.__init__', ()),
    'torch.FloatStorage.from_file': ('torch', 'FloatStorage.from_file', ()),
}


@pytest.mark.parametrize('wanted', CALLS)
@pytest.mark.parametrize('older', [False, True])
def test_what_a_file_wants_to_run_is_named_and_not_run(tmp_path, torch_writer, monkeypatch, wanted, older):
    monkeypatch.chdir(tmp_path)
    module, name, arguments = CALLS[wanted]
    tensors, storages = torch_writer.weights(FLOATS)
    value = {'state_dict': tensors, 'x': torch_writer.Call(torch_writer.Name(module, name), arguments)}
    write = torch_writer.write_older if older else torch_writer.write_zip
    text = message(write(tmp_path / 'b.pt', value, storages))
    assert f'refused: it wants to run {wanted!r}' in text
    assert not (tmp_path / 'was_here').exists()


class Runs:
    def __reduce__(self):
        return exec, ("open('was_here', 'w')",)


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('container', ['zip', 'pickle'])
def test_an_object_of_python_that_runs_something(tmp_path, torch_writer, monkeypatch, protocol, container):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({'w': Runs()}, protocol=protocol)
    path = tmp_path / 'b.pt'
    path.write_bytes(content)
    if container == 'zip':
        torch_writer.write_zip(path, content, {})
    assert f"refused: it wants to run '{'__builtin__' if protocol == 2 else 'builtins'}.exec'" in message(
        path
    )
    assert not (tmp_path / 'was_here').exists()


@pytest.mark.parametrize(('protocol', 'words'), [(0, 'damaged'), (1, 'refused')])
def test_the_oldest_protocols_are_not_read(tmp_path, torch_writer, protocol, words):
    assert words in message(
        torch_writer.write_zip(tmp_path / 'b.pt', pickle.dumps({'w': Runs()}, protocol), {})
    )


def test_a_name_is_no_longer_than_an_error(tmp_path, torch_writer):
    value = torch_writer.Name('m' * 5000, 'n\x1b[31m' * 5000)
    assert 'mmm' in message(torch_writer.write_zip(tmp_path / 'b.pt', value, {}))


@pytest.mark.parametrize('target', ['dict', 'tensor', 'name', 'storage'])
def test_no_object_is_given_a_state(tmp_path, torch_writer, target):
    tensor = torch_writer.tensor('0', (1,))
    value = {
        'dict': {},
        'tensor': tensor,
        'name': torch_writer.Name('torch._utils', '_rebuild_tensor_v2'),
        'storage': tensor.arguments[0],
    }[target]
    state = torch_writer.encode((None, {'__code__': 1, '__call__': 2}))
    content = pickle.PROTO + b'\2' + torch_writer.encode(value) + state + pickle.BUILD + pickle.STOP
    assert 'sets the state' in message(torch_writer.write_zip(tmp_path / 'b.pt', content, {'0': bytes(4)}))


def nested(depth: int) -> bytes:
    """Return the opcodes of a tuple that holds itself twice, `depth` times over: its hash takes 2 ** depth steps."""
    return pickle.EMPTY_TUPLE + (pickle.BINPUT + b'\1' + pickle.BINGET + b'\1' + pickle.TUPLE2) * depth


HOSTILE = {
    'a key that takes for ever to hash': b'}' + nested(200) + b'K\1s.',
    'many of them': b'}(' + nested(200) + b'K\1u.',
    'a bytes key': b'}C\1aK\1s.',
    'a huge number as a key': b'}\x8b' + (5000).to_bytes(4, 'little') + b'\x7f' * 5000 + b'K\1s.',
    'items for a list': b']K\0K\1s.',
    'a deep nest': b'\x85' * 100_000 + b'.',
    'a text of 2 GB': b'X' + (2**31 - 1).to_bytes(4, 'little') + b'abc.',
    'a text of 2 ** 62 bytes': b'\x8d' + (2**62).to_bytes(8, 'little') + b'abc.',
    'a buffer of 2 ** 40 bytes': b'\x96' + (2**40).to_bytes(8, 'little') + b'abc.',
    'a frame of 2 ** 40 bytes': b'\x95' + (2**40).to_bytes(8, 'little') + b'}.',
    'a place of 2 ** 31': b'}r' + b'\xff' * 4 + b'.',
    'nothing': b'.',
    'no end': b'}',
    'an instance': b'(icollections\nOrderedDict\n.',
    'a new object': b'ccollections\nOrderedDict\n)\x81.',
    'an extension': b'\x82\1.',
    'a call of a text': b'X\1\0\0\0a)R.',
    'a call with a number': b'ccollections\nOrderedDict\nK\1R.',
    'a dict of a thousand dicts': b'ccollections\nOrderedDict\n}\x85R.',
    'a storage of nothing': b')Q.',
    'a storage of no kind': b'(X\7\0\0\0storageX\1\0\0\0aX\1\0\0\0aNK\1tQ.',
}


@pytest.mark.parametrize('content', HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_pickles(tmp_path, torch_writer, content):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in (
        torch_writer.write_zip(tmp_path / 'b.pt', b'\x80\2' + content, {}),
        tmp_path / 'plain.pkl',
    ):
        if path.suffix == '.pkl':
            path.write_bytes(b'\x80\2' + content)
        message(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


# --- damaged files


@pytest.mark.parametrize('length', [3, 5, 2**40, 2**63 - 1, -1, True])
@pytest.mark.parametrize('older', [False, True])
def test_a_lying_length(tmp_path, torch_writer, length, older):
    value = {'w': torch_writer.tensor('0', (4,), length=length)}
    write = torch_writer.write_older if older else torch_writer.write_zip
    assert 'damaged' in message(write(tmp_path / 'b.pt', value, {'0': bytes(16)}))


@pytest.mark.parametrize('length', [3, 5, 2**40, -1])
def test_a_length_that_lies_beside_the_values(tmp_path, torch_writer, length):
    value, storages = {'w': torch_writer.tensor('0', (4,))}, {'0': bytes(16)}
    assert 'is not whole' in message(
        torch_writer.write_older(tmp_path / 'b.pt', value, storages, lengths={'0': length})
    )


@pytest.mark.parametrize('listed', [[], ['0', '0'], ['0', '1'], [0], 7, ['0', {}]])
def test_an_older_file_lists_its_storages(tmp_path, torch_writer, listed):
    parts = [*torch_writer.older_start, {'w': torch_writer.tensor('0', (1,))}, listed]
    path = tmp_path / 'b.pth'
    path.write_bytes(b''.join(map(torch_writer.pickled, parts)) + bytes(8))
    assert 'other storages' in message(path)


def test_an_older_file_of_another_version(tmp_path, torch_writer):
    magic, _, machine = torch_writer.older_start
    path = torch_writer.write_older(tmp_path / 'b.pth', {}, {}, start=(magic, 1002, machine))
    assert 'unknown version' in message(path)


def test_a_missing_record(tmp_path, torch_writer):
    path = torch_writer.write_zip(tmp_path / 'b.pt', {'w': torch_writer.tensor('0', (4,))}, {})
    assert "it lacks the record 'data/0'" in message(path)


def test_records_are_looked_up_by_name_alone(tmp_path, torch_writer):
    (tmp_path / 'secret').write_bytes(bytes(16))
    value = {'w': torch_writer.tensor('../../secret', (4,))}
    assert "it lacks the record 'data/../../secret'" in message(
        torch_writer.write_zip(tmp_path / 'b.pt', value, {})
    )


@pytest.mark.parametrize('name', ['data.pkl', 'data/0'])
def test_compressed_records_are_refused(tmp_path, torch_writer, name):
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
def test_a_small_file_that_is_large_once_unpacked(tmp_path, torch_writer, what):
    value = {'w': torch_writer.tensor('0', (10**6,))}
    pickled = torch_writer.pickled(value) if what == 'storage' else b'\x80\2' + b'}' * 4 * 10**6
    storages = {'0': bytes(4 * 10**6)}
    path = torch_writer.write_zip(tmp_path / 'b.pt', pickled, storages, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    assert 'is compressed' in message(path)


def test_no_pickle_is_as_large_as_weights(tmp_path, torch_writer):
    path = torch_writer.write_zip(tmp_path / 'b.pt', b'\x80\2' + b'}' * 2**24, {})
    assert "the record 'data.pkl' states a size" in message(path)


def test_records_in_one_place(tmp_path, torch_writer):
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


def test_a_size_beyond_the_file(tmp_path, torch_writer):
    path = torch_writer.write_zip(
        tmp_path / 'b.pt', {'w': torch_writer.tensor('0', (10**9,))}, {'0': bytes(16)}
    )
    with zipfile.ZipFile(path, 'a') as archive:
        info = archive.getinfo('archive/data/0')
        info.file_size = info.compress_size = 4 * 10**9
        archive.writestr('archive/again', b'')
    assert 'damaged' in message(path)


def test_zip_files_of_other_programs(tmp_path, torch_writer):
    path = tmp_path / 'b.zip'
    for names in (['a.txt'], ['a/data.pkl', 'b/data.pkl'], ['data.pkl'], ['a/b/data.pkl']):
        with zipfile.ZipFile(path, 'w') as archive:
            for name in names:
                archive.writestr(name, torch_writer.pickled({}))
        assert 'no single data.pkl' in message(path)


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_a_record_that_stands_twice(tmp_path, torch_writer):
    path = torch_writer.write_zip(tmp_path / 'b.pt', *torch_writer.weights(FLOATS))
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('archive/data/0', bytes(16))
    assert 'no single data.pkl' in message(path)


@pytest.mark.parametrize('older', [False, True])
def test_a_file_that_was_cut_short(tmp_path, torch_writer, older):
    write = torch_writer.write_older if older else torch_writer.write_zip
    content = write(tmp_path / 'b.pt', *torch_writer.weights(FLOATS)).read_bytes()
    path = tmp_path / 'cut.pt'
    for length in range(0, len(content), 9):
        path.write_bytes(content[:length])
        text = message(path)
        # a name that was cut short is a name that is not known
        assert 'damaged' in text or (older and 'wants to run' in text)


@pytest.mark.parametrize('older', [False, True])
def test_a_file_with_a_wrong_byte_is_read_or_refused(tmp_path, torch_writer, older):
    write = torch_writer.write_older if older else torch_writer.write_zip
    small = {'a.weight': np.ones((2, 2), 'f4'), 'b': np.zeros(3, 'f4')}
    content = bytearray(write(tmp_path / 'b.pt', *torch_writer.weights(small)).read_bytes())
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
