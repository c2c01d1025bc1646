"""Pickles read as data: a name in one leads to a stand-in from a table, and nothing is imported or run."""

from __future__ import annotations

import pickle
import struct
from typing import Any, ClassVar, Dict, Mapping, Tuple, Type

LIMIT = 2**63  # no number that an error prints, and no key of a dict, is as large
LONGEST_NAME = 80  # characters of a name from a file that an error repeats
LONGEST_REASON = 160

# What plain data needs in the pickle protocols 2 to 5. No opcode is here that makes a set, a frozenset or a dict of
# items, any of which hashes what the file made, or that builds or changes other objects.
OPCODES = """
    PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT
    BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD
"""

# the unpickler in C lets a file of ten bytes claim gigabytes, by the number it gives to a remembered object
_UnpicklerInPython: Any = pickle._Unpickler


class RestrictedUnpickler(_UnpicklerInPython):
    """The unpickler of one kind of file, which a subclass describes.

    A tuple that holds the one before it twice, 60 times over, is a file of 300 bytes, and to hash, compare or print
    it takes 2**60 steps. Only texts and numbers become keys, therefore, and stand-ins print what they are given by
    `shown` alone.
    """

    admitted: ClassVar[Mapping[Tuple[str, str], Any]] = {}  # (module, name), by numpy 1's names
    more_opcodes: ClassVar[str] = ''
    dispatch: ClassVar[Dict[int, Any]] = {}  # every subclass has its own
    error: ClassVar[Type[Exception]] = pickle.UnpicklingError
    # what the error says of a name that is not admitted, of an object that is no stand-in, and of a key
    wrong_name: ClassVar[str] = 'it names {}'
    wrong_state: ClassVar[str] = 'it sets the state of a {}'
    wrong_item: ClassVar[str] = 'it fills something that is not a dict of named values'

    def __init_subclass__(cls) -> None:
        codes = (getattr(pickle, name)[0] for name in (OPCODES + cls.more_opcodes).split())
        cls.dispatch = {code: getattr(cls, _UnpicklerInPython.dispatch[code].__name__) for code in codes}

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name, which numpy 2 may have written."""
        known = module.replace('numpy._core.', 'numpy.core.'), name
        if known not in self.admitted:
            raise self.error(self.wrong_name.format(shown(f'{module}.{name}').strip("'")))
        return self.admitted[known]

    def load_build(self) -> None:
        """Give a state to a stand-in that takes one."""
        state, target = self.stack.pop(), self.stack[-1]
        if not hasattr(type(target), '__setstate__'):
            raise self.error(self.wrong_state.format(type(target).__name__))
        target.__setstate__(state)

    def load_setitem(self) -> None:
        """Put one item into a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        """Put the items since the last mark into a dict."""
        self._fill(self.pop_mark())

    def _fill(self, items: list) -> None:
        target, keys = self.stack[-1], items[::2]
        if not isinstance(target, dict) or not all(map(_is_key, keys)):
            raise self.error(self.wrong_item)
        target.update(zip(keys, items[1::2]))

    def load_bytearray8(self) -> None:
        """Read a writable buffer as bytes; the original allocates whatever length the file states."""
        (length,) = struct.unpack('<Q', self.read(8))
        self.append(self.read(length))


def reason(error: Exception) -> str:
    """Return what an error says of a damaged file, in one line."""
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:LONGEST_REASON].rstrip(': ')


def shown(value: object) -> str:
    """Return a value from a file as an error may print it: its type where it is more than texts and numbers."""
    parts = value if isinstance(value, tuple) else (value,)
    plain = all(isinstance(part, bytes) or _is_key(part) for part in parts)
    text = repr(value) if plain else f'<{type(value).__name__}>'
    return text if len(text) <= LONGEST_NAME else f'{text[:LONGEST_NAME]}...'


def _is_key(value: object) -> bool:
    """Whether a dict may have this key."""
    return isinstance(value, str) or (type(value) is int and -LIMIT < value < LIMIT)
