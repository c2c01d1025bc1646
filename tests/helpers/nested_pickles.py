"""Pickles of a few hundred bytes that nest tuples so that to hash, compare or print one takes 2 ** depth steps."""

from __future__ import annotations

import pickle

DTYPE = b'cnumpy\ndtype\n'
STORAGE = b'X\7\0\0\0storagectorch\nFloatStorage\n'


def nested(depth: int) -> bytes:
    """Return the opcodes of a tuple that holds itself twice, `depth` times over: its hash takes 2 ** depth steps."""
    return pickle.EMPTY_TUPLE + (pickle.BINPUT + b'\1' + pickle.BINGET + b'\1' + pickle.TUPLE2) * depth


def memoized(depth: int) -> bytes:
    """Return the same by the opcodes of protocol 4, which number what they remember themselves."""
    levels = (pickle.MEMOIZE + pickle.BINGET + bytes([level]) + pickle.TUPLE2 for level in range(depth))
    return pickle.EMPTY_TUPLE + b''.join(levels)


def nested_pickles(depth: int = 60) -> dict:
    """Return what must be refused, by name: the tuple wherever a pickle can put it."""
    tuples = nested(depth)
    remembered = tuples + b'q\2' + b'0'
    contents = {
        'alone': tuples,
        'key': b'}' + tuples + b'K\1s',
        'key of many': b'}(K\0K\0' + tuples + b'K\1u',
        'key of a whole dict': b'(' + tuples + b'K\1d',
        'key of a named dict': b'ccollections\nOrderedDict\n)R' + tuples + b'K\1s',
        'key in protocol 4': b'\x80\4}' + memoized(depth) + b'K\1s',
        'key in a memo': remembered + b'}h\2K\1s',
        'keys built apart': b'}(' + tuples + b'K\1' + tuples + b'K\2u',
        'member': b'\x8f(' + tuples + b'\x90',
        'member in a memo': remembered + b'\x8f(h\2\x90',
        'frozen': b'(' + tuples + b'\x91',
        'frozen in a memo': remembered + b'(h\2\x91',
        'frozen key': b'}(' + tuples + b'\x91K\1s',
        'set that is called': b'c__builtin__\nset\n](' + tuples + b'e\x85R',
        'item': b'](' + tuples + tuples + b'e',
        'name': tuples + tuples + b'\x93',
        'function': tuples + b')R',
        'arguments': DTYPE + tuples + b'R',
        'type of an array': DTYPE + tuples + b'\x85R',
        'state of a type': DTYPE + b'X\2\0\0\0u1\x85R' + tuples + b'b',
        'shape': b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85R(K\1'
        + (tuples + DTYPE + b'X\2\0\0\0u1\x85R\x89C\0tb'),
        'shape of a buffer': b'cnumpy.core.numeric\n_frombuffer\n(C\0'
        + (DTYPE + b'X\2\0\0\0u1\x85R' + tuples + b'X\1\0\0\0CtR'),
        'scalar': b'cnumpy.core.multiarray\nscalar\n' + tuples + tuples + b'\x86R',
        'text': b'c_codecs\nencode\n' + tuples + tuples + b'\x86R',
        'state': b'ccollections\nOrderedDict\n)R' + tuples + b'b',
        'size of a tensor': b'ctorch._utils\n_rebuild_tensor_v2\n(('
        + STORAGE
        + b'X\1\0\0\0aNK\4tQK\0'
        + (tuples + tuples + b'tR'),
        'reference': tuples + b'Q',
        'reference by key': b'(' + STORAGE + tuples + b'NK\4tQ',
        'reference with a view': b'(' + STORAGE + b'X\1\0\0\0aNK\4' + tuples + b'tQ',
    }
    return {name: b'\x80\2' + content + b'.' for name, content in contents.items()}
