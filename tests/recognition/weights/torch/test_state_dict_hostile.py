"""PyTorch checkpoints that want more than to be read: what they would run is named, and not run."""

from __future__ import annotations

import pickle
import resource

import pytest

from tests.helpers import torch_writer
from tests.helpers.nested_pickles import nested
from tests.helpers.state_dicts import FLOATS, message

CALLS = {
    'posix.system': ('posix', 'system', ('touch was_here',)),
    'os.system': ('os', 'system', ('touch was_here',)),
    'builtins.eval': ('builtins', 'eval', ("open('was_here', 'w')",)),
    'torch.load': ('torch', 'load', ('other.pt',)),
    'torch.jit.load': ('torch.jit', 'load', ()),
    'backbones.iresnet.IResNet': ('backbones.iresnet', 'IResNet', ()),
    'torch._utils._rebuild_tensor_v2.__globals__': ('torch._utils', '_rebuild_tensor_v2.__globals__', ()),
    'collections.OrderedDict.__init__': ('collections', 'OrderedDict.__init__', ()),
    'numpy.core.multiarray.scalar': ('numpy.core.multiarray', 'scalar', ()),
    'numpy._core.multiarray.scalar': ('numpy._core.multiarray', 'scalar', ()),
    'torch.FloatStorage.from_file': ('torch', 'FloatStorage.from_file', ()),
}


@pytest.mark.parametrize('wanted', CALLS)
@pytest.mark.parametrize('older', [False, True])
def test_what_a_file_wants_to_run_is_named_and_not_run(tmp_path, monkeypatch, wanted, older):
    monkeypatch.chdir(tmp_path)
    module, name, arguments = CALLS[wanted]
    tensors, storages = torch_writer.tensors(FLOATS)
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
def test_an_object_of_python_that_runs_something(tmp_path, monkeypatch, protocol, container):
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
def test_the_oldest_protocols_are_not_read(tmp_path, protocol, words):
    assert words in message(
        torch_writer.write_zip(tmp_path / 'b.pt', pickle.dumps({'w': Runs()}, protocol), {})
    )


def test_a_name_is_no_longer_than_an_error(tmp_path):
    value = torch_writer.Name('m' * 5000, 'n\x1b[31m' * 5000)
    assert 'mmm' in message(torch_writer.write_zip(tmp_path / 'b.pt', value, {}))


@pytest.mark.parametrize('target', ['dict', 'tensor', 'name', 'storage'])
def test_no_object_is_given_a_state(tmp_path, target):
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
def test_hostile_pickles(tmp_path, content):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in (
        torch_writer.write_zip(tmp_path / 'b.pt', b'\x80\2' + content, {}),
        tmp_path / 'plain.pkl',
    ):
        if path.suffix == '.pkl':
            path.write_bytes(b'\x80\2' + content)
        message(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
