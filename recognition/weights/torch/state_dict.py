"""Weights from PyTorch checkpoints, as numpy arrays: no torch is needed, and no code in the file is run.

Both formats of torch.save are read: the zip file (since torch 1.6), and the one before it, pickle after pickle.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from contextlib import contextmanager
from typing import Any, BinaryIO, Dict, Iterator, Union

import numpy as np

from config.errors import CheckpointError, kind_of
from config.reading import reading
from recognition.utils.files import PathLike
from recognition.utils.restricted_pickle import reason, shown
from recognition.weights.torch.unpickler import (
    LARGEST,
    DamagedError,
    Element,
    Storage,
    Tensor,
    unpickle,
)

ZIP = b'PK\x03\x04'
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older format
PROTOCOL = 1001  # the second one
COUNT = struct.Struct('<q')  # before each storage of the older format
WRAPPERS = ('state_dict_backbone', 'state_dict')  # in a training checkpoint, the keys of a network's weights
PREFIXES = ('module.', '_orig_mod.')  # put before every name by DistributedDataParallel and by torch.compile
NAMED = 5  # how many keys an error names


def read_state_dict(path: PathLike) -> Dict[str, np.ndarray]:
    """Read the weights that torch.save wrote: tensors by name, as read-only arrays, bfloat16 as float32.

    A training checkpoint is unwrapped: its state_dict_backbone or else its state_dict is read. 'module.' and
    '_orig_mod.' are taken off where all names begin so.

    Raises CheckpointError for a file that is missing, damaged, or wants to run anything.
    """
    with _opened(path) as source:
        return _without_prefix(
            {name: source.array(tensor) for name, tensor in _state_dict(source.load()).items()}
        )


def read_records(path: PathLike, folder: str) -> Dict[str, bytes]:
    """Return what a zip file of PyTorch's holds under `folder` beside its weights, by name; {} in the older format.

    Errors as in `read_state_dict`.
    """
    with _opened(path) as source:
        return source.records(f'{folder}/')


@contextmanager
def _opened(path: PathLike) -> Iterator[_Checkpoint]:
    with reading(path, CheckpointError), open(path, 'rb') as file:
        try:
            yield _open(file)
        except DamagedError as error:
            raise CheckpointError(f'{path}: {error}') from error


def _state_dict(loaded: Any) -> Dict[str, Tensor]:
    """Return the dict of tensors in what was pickled, which is the whole of it or stands under one of WRAPPERS."""
    if not isinstance(loaded, dict):
        raise DamagedError(f'it holds {kind_of(loaded)} where a dict of weights is expected')
    wrapper = next((key for key in WRAPPERS if isinstance(loaded.get(key), dict)), None)
    found = loaded if wrapper is None else loaded[wrapper]
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            keys = ', '.join(map(shown, list(found)[:NAMED]))
            raise DamagedError(
                f'it is not a dict of weights: {shown(name)} is {kind_of(value)} (its keys are {keys}, ...; '
                f'weights are looked for under {" and ".join(WRAPPERS)})'
            )
    if not found:
        raise DamagedError('it holds no weights')
    return found


def _without_prefix(arrays: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    for prefix in PREFIXES * 2:  # in either order
        if all(name.startswith(prefix) for name in arrays):
            arrays = {name[len(prefix) :]: array for name, array in arrays.items()}
    return arrays


class _Checkpoint:
    """A checkpoint whose storages are read when a tensor needs them, each once."""

    def __init__(self, layout: Union[_ZipFormat, _OlderFormat], size: int) -> None:
        self._layout = layout
        self._left = size
        self._read: Dict[Storage, np.ndarray] = {}

    def load(self) -> Any:
        return self._layout.load()

    def records(self, folder: str) -> Dict[str, bytes]:
        return self._layout.records(folder)

    def array(self, tensor: Tensor) -> np.ndarray:
        """Return the tensor as a view of its storage."""
        values = self._values(tensor.storage)
        if 0 not in tensor.size:
            last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.strides))
            if last >= len(values):
                raise DamagedError(
                    f'damaged: a tensor needs element {last} of a storage that has {len(values)}'
                )
        try:
            if 0 in tensor.size:
                return np.empty(tensor.size, values.dtype)
            strides = [step * values.itemsize for step in tensor.strides]
            return np.lib.stride_tricks.as_strided(
                values[tensor.offset :], tensor.size, strides, writeable=False
            )
        except (ValueError, OverflowError, MemoryError):
            raise DamagedError(f'damaged: it has a tensor of size {shown(tensor.size)}') from None

    def _values(self, storage: Storage) -> np.ndarray:
        if storage not in self._read:
            # no honest file holds more than its own length; two storages in one place would
            self._left -= storage.size
            if self._left < 0:
                raise DamagedError(
                    f'damaged: storage {shown(storage.key)} of {storage.size} bytes is not all there'
                )
            raw = self._layout.read(storage)
            self._read[storage] = _decoded(raw, storage.element, big_endian=self._layout.big_endian)
        return self._read[storage]


def _decoded(raw: bytes, element: Element, *, big_endian: bool) -> np.ndarray:
    stored = element.raw.newbyteorder('>' if big_endian else '<')
    values = np.frombuffer(raw, stored).astype(element.raw, copy=False)
    if element.name == 'bfloat16':
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(element.name, copy=False)


def _open(file: BinaryIO) -> _Checkpoint:
    size = os.fstat(file.fileno()).st_size
    start = file.read(len(ZIP))
    file.seek(0)
    return _Checkpoint(_ZipFormat(file, size) if start == ZIP else _OlderFormat(file), size)


class _ZipFormat:
    """`<root>/data.pkl`, `<root>/data/<key>` and `<root>/byteorder` in a zip file, none of them compressed."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._size = size
        try:
            self._archive = zipfile.ZipFile(file)
            names = self._archive.namelist()
        except Exception as error:  # zipfile can end in many kinds of error on a damaged directory
            raise DamagedError(f'damaged, perhaps cut short ({reason(error)})') from error
        roots = [name[: -len('data.pkl')] for name in names if name.partition('/')[2] == 'data.pkl']
        if len(roots) != 1 or len(set(names)) != len(names):
            raise DamagedError('a zip file, but not one that torch.save wrote: it has no single data.pkl')
        self._root = roots[0]
        order = self._member('byteorder') if f'{self._root}byteorder' in names else b'little'
        if order not in (b'little', b'big'):
            raise DamagedError(f'damaged: its byte order is {shown(order)}')
        self.big_endian = order == b'big'

    def load(self) -> Any:
        return unpickle(io.BytesIO(self._member('data.pkl', LARGEST)))[0]

    def read(self, storage: Storage) -> bytes:
        raw = self._member(f'data/{storage.key}')
        if len(raw) != storage.size:
            raise DamagedError(
                f'damaged: storage {shown(storage.key)} has {len(raw)} bytes where {storage.size} are stated'
            )
        return raw

    def records(self, folder: str) -> Dict[str, bytes]:
        start, before = len(self._root), f'{self._root}{folder}'
        names = [name[start:] for name in self._archive.namelist() if name.startswith(before)]
        return {name[len(folder) :]: self._member(name, LARGEST) for name in names}

    def _member(self, name: str, largest: int = 2**63) -> bytes:
        try:
            info = self._archive.getinfo(f'{self._root}{name}')
        except KeyError:
            raise DamagedError(f'damaged: it lacks the record {shown(name)}') from None
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise DamagedError(
                f'refused: the record {shown(name)} is compressed, which torch.save never does'
            )
        if info.file_size > min(largest, self._size):
            raise DamagedError(f'damaged: the record {shown(name)} states a size of {info.file_size} bytes')
        try:
            return self._archive.read(info)
        except Exception as error:  # a bad check sum, a local header that differs, a password
            raise DamagedError(
                f'damaged: the record {shown(name)} cannot be read ({reason(error)})'
            ) from error


class _OlderFormat:
    """Five pickles (magic number, version, machine, weights, storage keys), then each storage's count and values."""

    big_endian = False  # on every machine

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = io.BytesIO(file.read(LARGEST))
        start, _ = unpickle(head)
        if start != MAGIC:
            raise DamagedError('not a checkpoint of PyTorch')
        version, _ = unpickle(head)
        unpickle(head)  # of what size the machine's numbers were
        self._loaded, storages = unpickle(head)
        keys, _ = unpickle(head)
        if version != PROTOCOL:
            raise DamagedError('damaged, or of an unknown version of PyTorch')
        named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not named or sorted(keys) != sorted(storages):
            raise DamagedError('damaged: it lists other storages than its tensors need')
        self._places: Dict[str, int] = {}
        place = head.tell()
        for key in keys:
            self._places[key] = place
            place += COUNT.size + storages[key].size

    def load(self) -> Any:
        return self._loaded

    def records(self, folder: str) -> Dict[str, bytes]:
        return {}

    def read(self, storage: Storage) -> bytes:
        self._file.seek(self._places[storage.key])
        count = self._file.read(COUNT.size)
        raw = self._file.read(storage.size)
        if count != COUNT.pack(storage.length) or len(raw) != storage.size:
            raise DamagedError(f'damaged, perhaps cut short: storage {shown(storage.key)} is not whole')
        return raw
