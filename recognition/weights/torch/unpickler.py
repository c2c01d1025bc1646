"""The pickle inside a PyTorch checkpoint, read as data: nothing that it names is imported or run.

Tensors become rows of numbers about tensors (`Tensor`, `Storage`); their values are read by `state_dict`.
"""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO, ClassVar, Dict, NamedTuple, Tuple

import numpy as np

LARGEST = 2**24  # bytes of pickle that are read; a network of 200 layers has 2**18
LIMIT = 2**63  # no count or number in a checkpoint is as large
LONGEST_NAME = 80  # characters of a name from a file that an error repeats
LONGEST_REASON = 160

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

# What torch.save writes in the pickle protocols 2 to 5. All that could build or change other objects is not there.
OPCODES = """
    PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT
    BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID
"""


class DamagedError(Exception):
    """What is wrong with a checkpoint, in words that stand behind the file's name."""


class RefusedError(DamagedError):
    """The checkpoint asks for what no weights need."""


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

    Raises RefusedError, naming it, for whatever the pickle wants to import, and DamagedError for a damaged one.
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


def reason(error: Exception) -> str:
    """Return what an error says of a damaged file, in one line."""
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:LONGEST_REASON]


def shown(name: object) -> str:
    """Return a name from a file as an error may print it."""
    text = repr(name)
    return text if len(text) <= LONGEST_NAME else f'{text[:LONGEST_NAME]}...'


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < LIMIT


def _is_key(value: object) -> bool:
    """Whether a dict may have this key; the hash of nested tuples can take for ever."""
    return isinstance(value, str) or (type(value) is int and -LIMIT < value < LIMIT)


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


ADMITTED: Dict[Tuple[str, str], Any] = {
    ('collections', 'OrderedDict'): _OrderedDict,
    ('torch._utils', '_rebuild_tensor_v2'): _tensor,
    ('torch._utils', '_rebuild_parameter'): _parameter,
    **{('torch', name): Element(element) for name, element in ELEMENTS.items()},
}
# the unpickler in C lets a file of ten bytes claim gigabytes, by the number it gives to a remembered object
_UnpicklerInPython: Any = pickle._Unpickler


class _WeightsUnpickler(_UnpicklerInPython):
    dispatch: ClassVar[Dict[int, Any]] = {
        code: _UnpicklerInPython.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in OPCODES.split())
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise RefusedError(
                f'refused: it wants to run {shown(f"{module}.{name}")}, which no weights need; '
                'a file that torch.save wrote of model.state_dict() is read'
            )
        return ADMITTED[module, name]

    def persistent_load(self, reference: Any) -> Storage:
        storage = _storage(reference)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise DamagedError(f'damaged: it states two kinds of storage {shown(storage.key)}')
        return storage

    def load_build(self) -> None:
        """Drop what an OrderedDict has beside its items (`_metadata`); nothing else can be given a state."""
        self.stack.pop()
        if not isinstance(self.stack[-1], _OrderedDict):
            raise RefusedError('refused: it sets the state of an object; a checkpoint of weights holds none')

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._fill(self.stack[-1], items[::2], items[1::2])

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill(self.stack[-1], [key], [value])

    @staticmethod
    def _fill(target: Any, keys: list, values: list) -> None:
        if not isinstance(target, dict) or not all(map(_is_key, keys)):
            raise DamagedError('damaged: it fills something that is not a dict of named values')
        target.update(zip(keys, values))

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.SETITEM[0]] = load_setitem
