"""A writer of PyTorch checkpoints, opcode by opcode, for tests that need no torch and for files that it never wrote."""

from __future__ import annotations

import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

KINDS = {'f4': 'Float', 'f8': 'Double', 'f2': 'Half', 'i8': 'Long', 'i4': 'Int', 'i2': 'Short', 'u1': 'Byte'}
MACHINE = {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
OLDER_START = (0x1950A86A20F9469CFC6C, 1001, MACHINE)


class Name(NamedTuple):
    """A name that is imported when the pickle is loaded."""

    module: str
    name: str


class Call(NamedTuple):
    """A call of what stands under a name, then items and a state for its result."""

    function: Any
    arguments: tuple = ()
    items: Any = None
    state: Any = None


class Reference(NamedTuple):
    """A persistent id."""

    content: Any


def encode(value) -> bytes:
    """Return the opcodes of pickle protocol 2 that leave a value on the stack."""
    if isinstance(value, Name):
        return pickle.GLOBAL + f'{value.module}\n{value.name}\n'.encode()
    if isinstance(value, Call):
        code = encode(value.function) + encode(tuple(value.arguments)) + pickle.REDUCE
        code += b'' if value.items is None else filled(value.items)
        return code if value.state is None else code + encode(value.state) + pickle.BUILD
    if isinstance(value, Reference):
        return encode(value.content) + pickle.BINPERSID
    if isinstance(value, dict):
        return pickle.EMPTY_DICT + filled(value)
    if isinstance(value, (tuple, list)):
        start, end = (pickle.MARK, pickle.TUPLE) if isinstance(value, tuple) else (b'](', pickle.APPENDS)
        return start + b''.join(map(encode, value)) + end
    return pickle.dumps(value, protocol=2)[2:-1]  # a number, text, None or truth value


def filled(items) -> bytes:
    return pickle.MARK + b''.join(encode(part) for item in items.items() for part in item) + pickle.SETITEMS


def pickled(value) -> bytes:
    return b'\x80\x02' + encode(value) + b'.'


def tensor(key, size, strides=None, *, kind='Float', length=None, offset=0, view=()):
    """Return a tensor of a storage of `length` elements (by default as many as it has) in the file."""
    steps = tuple(int(np.prod(size[i + 1 :])) for i in range(len(size))) if strides is None else strides
    length = int(np.prod(size)) if length is None else length
    storage = Reference(('storage', Name('torch', f'{kind}Storage'), key, 'cpu', length, *view))
    hooks = Call(Name('collections', 'OrderedDict'))
    arguments = (storage, offset, tuple(size), steps, False, hooks)
    return Call(Name('torch._utils', '_rebuild_tensor_v2'), arguments)


def weights(arrays, view=()):
    """Return arrays by name as (an OrderedDict of tensors, with its `_metadata`, and their storages by key)."""
    tensors, storages = {}, {}
    for number, (name, array) in enumerate(arrays.items()):
        storages[str(number)] = np.ascontiguousarray(array).tobytes()
        tensors[name] = tensor(str(number), array.shape, kind=KINDS[array.dtype.str[1:]], view=view)
    versions = Call(Name('collections', 'OrderedDict'), items={'': {'version': 1}})
    return Call(Name('collections', 'OrderedDict'), (), tensors, {'_metadata': versions}), storages


def write_zip(path, value, storages, *, order=b'little', root='archive', compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr(f'{root}/data.pkl', value if isinstance(value, bytes) else pickled(value))
        if order is not None:
            archive.writestr(f'{root}/byteorder', order)
        for key, content in storages.items():
            archive.writestr(f'{root}/data/{key}', content)
        archive.writestr(f'{root}/version', b'3\n')
    return path


def write_older(path, value, storages, *, lengths=None, start=OLDER_START):
    """Write the format before torch 1.6, in which the storages' lengths stand in the file a second time."""
    parts = [*map(pickled, start), pickled(value), pickled(list(storages))]
    for key, content in storages.items():
        parts += [struct.pack('<q', (lengths or {}).get(key, len(content) // 4)), content]
    path.write_bytes(b''.join(parts))
    return path
