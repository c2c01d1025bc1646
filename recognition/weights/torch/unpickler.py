"""The pickle inside a PyTorch checkpoint, read as data: nothing that it names is imported or run.

Tensors become rows of numbers about tensors (`Tensor`, `Storage`); their values are read by `state_dict`.
"""

from __future__ import annotations

from typing import Any, BinaryIO, Dict, NamedTuple, Tuple

import numpy as np

from recognition.utils.restricted_pickle import LIMIT, RestrictedUnpickler, reason, shown

LARGEST = 2**24  # bytes of pickle that are read; a network of 200 layers has 2**18

# torch's storage classes and what their elements are; bfloat16 is the upper half of a float32.
ELEMENTS = {
    'FloatStorage': 'float32',
    'DoubleStorage': 'float64',
    'HalfStorage': 'float16',
    'BFloat16Storage': 'bfloat16',
    'LongStorage': 'int64',
    'IntStorage': 'int32',
    'ShortStorage': 'int16',
    'CharStorage': 'int8',
    'ByteStorage': 'uint8',
    'BoolStorage': 'bool',
}
RAW = {'bfloat16': 'uint16', 'bool': 'uint8'}  # what numpy reads them as


class DamagedError(Exception):
    """What is wrong with a checkpoint, in words that stand behind the file's name."""


class Element(NamedTuple):
    """Stands for a storage class, by the type of its elements."""

    name: str

    @property
    def raw(self) -> np.dtype:
        """What the bytes of a storage are to numpy."""
        return np.dtype(RAW.get(self.name, self.name))


class Storage(NamedTuple):
    """A row of `length` elements that stands elsewhere in the file, under the name `key`."""

    element: Element
    key: str
    length: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.length * self.element.raw.itemsize


class Tensor(NamedTuple):
    """A tensor as a view of its storage; offset and strides are counted in elements."""

    storage: Storage
    offset: int
    size: Tuple[int, ...]
    strides: Tuple[int, ...]


def unpickle(file: BinaryIO) -> Tuple[Any, Dict[str, Storage]]:
    """Read one pickle: Tensors in dicts, lists and tuples among numbers and texts; and its storages by key.

    Raises DamagedError for a damaged one, and for one that wants to import anything, which it names.
    """
    unpickler = _WeightsUnpickler(file, encoding='utf-8')
    unpickler.storages = {}
    try:
        return unpickler.load(), unpickler.storages
    except DamagedError:
        raise
    except KeyError:  # an opcode, or a remembered object, that is not there
        raise DamagedError('damaged, or not a checkpoint of PyTorch') from None
    except Exception as error:  # a damaged stream can end in any exception that its opcodes can provoke
        raise DamagedError(f'damaged, or not a checkpoint of PyTorch ({reason(error)})') from error


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < LIMIT


def _storage(reference: Any) -> Storage:
    """Return what a persistent id means: ('storage', class, key, device, count), in the older format with a view."""
    fits = isinstance(reference, tuple) and len(reference) in (5, 6) and reference[0] == 'storage'
    if not fits or not isinstance(reference[1], Element) or not _is_count(reference[4]):
        raise DamagedError('damaged: it refers to a storage in an unknown way')
    _, element, key, _device, count, *view = reference
    if not isinstance(key, str) or view not in ([], [None]):
        raise DamagedError('damaged: it refers to a storage in an unknown way')
    return Storage(element, key, count)


def _tensor(storage: Any, offset: Any, size: Any, strides: Any, *_gradient_and_hooks: Any) -> Tensor:
    """Stand for torch._utils._rebuild_tensor_v2."""
    counts = isinstance(size, tuple) and isinstance(strides, tuple) and len(size) == len(strides)
    if not isinstance(storage, Storage) or not counts or not all(map(_is_count, (offset, *size, *strides))):
        raise DamagedError('damaged: it describes a tensor in an unknown way')
    return Tensor(storage, offset, size, strides)


def _parameter(tensor: Any, *_gradient_and_hooks: Any) -> Tensor:
    """Stand for torch._utils._rebuild_parameter."""
    if not isinstance(tensor, Tensor):
        raise DamagedError('damaged: it describes a parameter in an unknown way')
    return tensor


class _OrderedDict(dict):
    """Stands for collections.OrderedDict, which torch.save fills after it is made."""

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Drop what it has beside its items (`_metadata`)."""


ADMITTED: Dict[Tuple[str, str], Any] = {
    ('collections', 'OrderedDict'): _OrderedDict,
    ('torch._utils', '_rebuild_tensor_v2'): _tensor,
    ('torch._utils', '_rebuild_parameter'): _parameter,
    **{('torch', name): Element(element) for name, element in ELEMENTS.items()},
}


class _WeightsUnpickler(RestrictedUnpickler):
    admitted = ADMITTED
    more_opcodes = 'BINPERSID'
    error = DamagedError
    wrong_name = (
        "refused: it wants to run '{}', which no weights need; "
        'a file that torch.save wrote of model.state_dict() is read'
    )
    wrong_state = 'refused: it sets the state of an object; a checkpoint of weights holds none'
    wrong_item = 'damaged: it fills something that is not a dict of named values'

    def persistent_load(self, reference: Any) -> Storage:
        storage = _storage(reference)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise DamagedError(f'damaged: it states two kinds of storage {shown(storage.key)}')
        return storage
