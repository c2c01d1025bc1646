"""PyTorch checkpoints without PyTorch: what is read."""

from __future__ import annotations

import numpy as np
import pytest

from recognition.weights.torch.state_dict import read_state_dict
from tests.helpers import torch_writer
from tests.helpers.state_dicts import ARRAYS, FLOATS, check, message


@pytest.mark.parametrize('root', ['archive', 'backbone', 'a.b c'])
def test_a_zip_file(tmp_path, root):
    check(
        read_state_dict(torch_writer.write_zip(tmp_path / 'b.pt', *torch_writer.tensors(ARRAYS), root=root)),
        ARRAYS,
    )


def test_a_file_from_before_there_was_a_byte_order(tmp_path):
    path = torch_writer.write_zip(tmp_path / 'b.pt', *torch_writer.tensors(ARRAYS), order=None)
    check(read_state_dict(path), ARRAYS)


def test_a_file_from_a_big_endian_machine(tmp_path):
    value, storages = torch_writer.tensors(ARRAYS)
    swapped = {
        key: array.astype(array.dtype.newbyteorder('>')).tobytes()
        for key, array in zip(storages, ARRAYS.values())
    }
    check(read_state_dict(torch_writer.write_zip(tmp_path / 'b.pt', value, swapped, order=b'big')), ARRAYS)
    path = torch_writer.write_zip(tmp_path / 'm.pt', value, swapped, order=b'middle')
    assert 'its byte order is' in message(path)


@pytest.mark.parametrize('view', [(), (None,)])
def test_a_file_from_before_the_zip_format(tmp_path, view):
    value, storages = torch_writer.tensors(FLOATS, view)
    check(read_state_dict(torch_writer.write_older(tmp_path / 'b.pth', value, storages)), FLOATS)


def test_bfloat16(tmp_path):
    halves = np.array([0x3F80, 0xC000, 0x3DCD, 0x7F80], '<u2')
    value = {'w': torch_writer.tensor('0', (4,), kind='BFloat16')}
    (found,) = read_state_dict(
        torch_writer.write_zip(tmp_path / 'b.pt', value, {'0': halves.tobytes()})
    ).values()
    np.testing.assert_array_equal(found, np.array([1, -2, 0.10009765625, np.inf], np.float32))
    assert found.dtype == np.float32


def test_truth_values_and_small_integers(tmp_path):
    value = {
        'b': torch_writer.tensor('0', (3,), kind='Bool'),
        'c': torch_writer.tensor('1', (2,), kind='Char'),
    }
    found = read_state_dict(
        torch_writer.write_zip(tmp_path / 'b.pt', value, {'0': b'\0\1\2', '1': b'\xff\1'})
    )
    check(found, {'b': np.array([False, True, True]), 'c': np.array([-1, 1], np.int8)})


def test_views_of_one_storage(tmp_path):
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
        ((1,) * 65, (1,) * 65, 0),  # one more dimension than numpy 2 has
    ],
)
def test_views_beyond_their_storage(tmp_path, size, strides, offset):
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
def test_tensors_of_strange_numbers(tmp_path, change):
    value = torch_writer.tensor('0', (4,))
    given = dict(zip(('storage', 'offset', 'size', 'strides'), value.arguments), **change)
    value = {'w': value._replace(arguments=(*given.values(), False, None))}
    assert 'in an unknown way' in message(torch_writer.write_zip(tmp_path / 'b.pt', value, {'0': bytes(16)}))


def test_a_parameter_is_its_tensor(tmp_path):
    value = torch_writer.Call(
        torch_writer.Name('torch._utils', '_rebuild_parameter'), (torch_writer.tensor('0', (2,)), True, None)
    )
    path = torch_writer.write_zip(tmp_path / 'b.pt', {'w': value}, {'0': np.ones(2, 'f4').tobytes()})
    check(read_state_dict(path), {'w': np.ones(2, 'f4')})


@pytest.mark.parametrize('key', ['state_dict_backbone', 'state_dict'])
def test_a_training_checkpoint_is_unwrapped(tmp_path, key):
    tensors, storages = torch_writer.tensors(FLOATS)
    storages['9'] = bytes(8)
    value = {
        'epoch': 3,
        'lr': [0.1, None, True],
        'state_optimizer': {'state': {0: {'momentum_buffer': torch_writer.tensor('9', (2,))}}},
        key: tensors,
    }
    check(read_state_dict(torch_writer.write_zip(tmp_path / 'b.pt', value, storages)), FLOATS)


def test_the_backbone_comes_before_other_weights(tmp_path):
    tensors, storages = torch_writer.tensors(FLOATS)
    value = {'state_dict': {'w': torch_writer.tensor('0', (1,))}, 'state_dict_backbone': tensors}
    path = torch_writer.write_zip(tmp_path / 'b.pt', value, storages)
    assert 'two kinds of storage' in message(path)
    value['state_dict'] = {}
    check(read_state_dict(torch_writer.write_zip(path, value, storages)), FLOATS)


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_prefixes_that_all_names_have_are_taken_off(tmp_path, prefix):
    given = {prefix + name: array for name, array in FLOATS.items()}
    path = torch_writer.write_zip(tmp_path / 'b.pt', *torch_writer.tensors(given))
    check(read_state_dict(path), FLOATS)
    given['conv1.weight'] = FLOATS['bn.running_var']
    path = torch_writer.write_zip(tmp_path / 'c.pt', *torch_writer.tensors(given))
    check(read_state_dict(path), given)


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        ([], 'it holds a list'),
        (7, 'it holds an int'),
        ({}, 'it holds no weights'),
        ({'state_dict': {}}, 'it holds no weights'),
        (
            {'model': {}, 'epoch': 1},
            "'model' is a dict (its keys are 'model', 'epoch', ...; weights are looked for",
        ),
        ({'state_dict': {'w': 'text'}}, "'w' is a str"),
        ({3: 4}, '3 is an int'),
    ],
)
def test_what_holds_no_weights(tmp_path, value, words):
    assert words in message(torch_writer.write_zip(tmp_path / 'b.pt', value, {}))
