"""PyTorch checkpoints, written without PyTorch: the zip file of torch.save (since torch 1.6), opcode by opcode."""

from __future__ import annotations

import pickle
import zipfile
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from recognition.utils.files import PathLike
from recognition.weights.torch.unpickler import ELEMENTS

KINDS = {dtype: name[: -len('Storage')] for name, dtype in ELEMENTS.items()}
ROOT = 'archive'  # the folder in the zip; torch takes any name


class Name(NamedTuple):
    """A name that is imported when the pickle is loaded."""

    module: str
    name: str


class Call(NamedTuple):
    """A call of what stands under a name, then items and a state for its result."""

    function: Any
    arguments: Tuple[Any, ...] = ()
    items: Optional[Mapping[Any, Any]] = None
    state: Any = None


class Reference(NamedTuple):
    """A persistent id."""

    content: Any


def encode(value: Any) -> bytes:
    """Return the opcodes of pickle protocol 2 that leave a value on the stack."""
    if isinstance(value, Name):
        return pickle.GLOBAL + f'{value.module}\n{value.name}\n'.encode()
    if isinstance(value, Call):
        code = encode(value.function) + encode(tuple(value.arguments)) + pickle.REDUCE
        code += b'' if value.items is None else _filled(value.items)
        return code if value.state is None else code + encode(value.state) + pickle.BUILD
    if isinstance(value, Reference):
        return encode(value.content) + pickle.BINPERSID
    if isinstance(value, dict):
        return pickle.EMPTY_DICT + _filled(value)
    if isinstance(value, (tuple, list)):
        start, end = (pickle.MARK, pickle.TUPLE) if isinstance(value, tuple) else (b'](', pickle.APPENDS)
        return start + b''.join(map(encode, value)) + end
    return pickle.dumps(value, protocol=2)[2:-1]  # a number, text, None or truth value


def _filled(items: Mapping[Any, Any]) -> bytes:
    return pickle.MARK + b''.join(encode(part) for item in items.items() for part in item) + pickle.SETITEMS


def pickled(value: Any) -> bytes:
    """Return a whole pickle."""
    return b'\x80\x02' + encode(value) + b'.'


def tensor(
    key: str,
    size: Sequence[int],
    strides: Optional[Sequence[int]] = None,
    *,
    kind: str = 'Float',
    length: Optional[int] = None,
    offset: int = 0,
    view: Sequence[Any] = (),
) -> Call:
    """Return a tensor of a storage of `length` elements (by default as many as it has), `key` in the file.

    view: what the format before the zip has behind a storage's length.
    """
    steps = [int(np.prod(size[i + 1 :])) for i in range(len(size))] if strides is None else strides
    length = int(np.prod(size)) if length is None else length
    storage = Reference(('storage', Name('torch', f'{kind}Storage'), key, 'cpu', length, *view))
    hooks = Call(Name('collections', 'OrderedDict'))
    arguments = (storage, offset, tuple(size), tuple(steps), False, hooks)
    return Call(Name('torch._utils', '_rebuild_tensor_v2'), arguments)


def tensors(arrays: Mapping[str, np.ndarray], view: Sequence[Any] = ()) -> Tuple[Call, Dict[str, memoryview]]:
    """Return arrays by name as (an OrderedDict of tensors, with its `_metadata`, and their storages by key)."""
    items, storages = {}, {}
    for number, (name, array) in enumerate(arrays.items()):
        storages[str(number)] = array.reshape(-1).view(np.uint8).data  # no second copy of the weights
        items[name] = tensor(str(number), array.shape, kind=KINDS[array.dtype.name], view=view)
    versions = Call(Name('collections', 'OrderedDict'), items={'': {'version': 1}})
    return Call(Name('collections', 'OrderedDict'), (), items, {'_metadata': versions}), storages


def write_state_dict(
    path: PathLike, arrays: Mapping[str, np.ndarray], records: Optional[Mapping[str, bytes]] = None
) -> None:
    """Write arrays by name as torch.save writes a state dict; `records` are further files in the zip.

    torch.load reads no record that the pickle does not name.
    """
    value, storages = tensors(arrays)
    members: Dict[str, Any] = {
        'data.pkl': pickled(value),
        'byteorder': b'little',
        **{f'data/{key}': content for key, content in storages.items()},
        'version': b'3\n',
        **(records or {}),
    }
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f'{ROOT}/{name}'), content)  # without the time
