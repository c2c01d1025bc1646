"""Verification sets: InsightFace's `.bin` files, which are pickles, read without trusting them.

A pickle names functions and classes that the reader calls. Here no name reaches the real thing: the few names
that byte strings and numpy arrays need lead to small stand-ins, which hold plain data and check it, and every
other name is refused.
"""

from __future__ import annotations

import io
from typing import Any, ClassVar, Dict, List, Optional, Sequence, Tuple

import numpy as np

from config.errors import DataError, kind_of
from config.reading import read_bytes
from recognition.data.images import decode_image, load_cv2
from recognition.utils.files import PathLike
from recognition.utils.restricted_pickle import RestrictedUnpickler, reason, shown

UINT8 = 'u1'  # numpy's code of the elements of an image
ANSWERS = (
    'b1',
    'i1',
    'i2',
    'i4',
    'i8',
    UINT8,
    'u2',
    'u4',
    'u8',
)  # those that answers may have: as bool and integers


def load_bin(
    path: PathLike, image_size: Optional[Sequence[int]] = None, *, resize: bool = False, channels: int = 3
) -> Tuple[np.ndarray, np.ndarray]:
    """Read a verification set: uint8 images (2P, channels, H, W), RGB or grey, and the answers (P,) as booleans.

    Pair p is images 2p and 2p + 1. `image_size` is (height, width), that of the first image when None; an
    image of another size is resized (bicubic, as InsightFace's `load_bin`) only when `resize` is true.

    Raises DataError for a file that is missing, damaged, holds anything but byte strings, uint8 arrays and
    booleans, whose counts do not fit, or with an image that cannot be decoded or has another size.
    """
    encoded, issame = read_pairs(path)
    first = decode_image(encoded[0], f'{path}: image 0', channels)
    height, width = (int(side) for side in (first.shape if image_size is None else image_size)[:2])
    images = np.empty((len(encoded), channels, height, width), dtype=np.uint8)
    for number, buffer in enumerate(encoded):
        image = first if number == 0 else decode_image(buffer, f'{path}: image {number}', channels)
        if image.shape[:2] != (height, width):
            if not resize:
                raise DataError(
                    f'{path}: image {number} is {image.shape[0]}x{image.shape[1]} (height x width), '
                    f'where {height}x{width} is expected'
                )
            image = _resized(image, height, width)
        images[number] = image.transpose(2, 0, 1)
    return images, issame


def read_pairs(path: PathLike) -> Tuple[List[bytes], np.ndarray]:
    """Read a verification set without decoding it: 2P encoded images and the answers (P,) as booleans.

    Raises DataError as `load_bin` does.
    """
    loaded = _unpickle(path)
    if not (isinstance(loaded, (tuple, list)) and len(loaded) == 2):
        raise DataError(
            f'{path}: not a verification set: expected a pair (images, issame), found {_kind(loaded)}'
        )
    images, answers = loaded
    if not isinstance(images, (tuple, list)):
        raise DataError(f'{path}: the images must be a list of encoded images, not {_kind(images)}')
    issame = _booleans(answers, path)
    if not len(issame):
        raise DataError(f'{path}: the set is empty; a verification set holds at least one pair of images')
    if len(images) != 2 * len(issame):
        raise DataError(
            f'{path}: {len(images)} images for {len(issame)} answers; '
            f'a pair needs two, that is {2 * len(issame)}'
        )
    return [_encoded(image, path, number) for number, image in enumerate(images)], issame


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    cv2 = load_cv2()
    sized = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(sized).reshape(height, width, image.shape[2])


def _booleans(answers: Any, path: PathLike) -> np.ndarray:
    if isinstance(answers, _Array):
        answers = answers.numbers()
    if not isinstance(answers, (tuple, list)):
        raise DataError(f'{path}: issame must be a list of booleans, not {_kind(answers)}')
    for number, answer in enumerate(answers):
        if not isinstance(answer, int) or answer not in (0, 1):
            found = answer if isinstance(answer, int) else _kind(answer)
            raise DataError(
                f'{path}: answer {number} of issame must be True or False, or 1 or 0, not {found}'
            )
    return np.array(answers, dtype=bool)


def _encoded(image: Any, path: PathLike, number: int) -> bytes:
    if isinstance(image, _Array) and image.code == UINT8:
        return image.raw
    if isinstance(image, bytes):
        return image
    raise DataError(f'{path}: image {number} must be a byte string or a uint8 array, not {_kind(image)}')


def _kind(value: Any) -> str:
    if isinstance(value, _Array):
        return f'an array of {value.code or "nothing"}'
    return kind_of(value)


def _unpickle(path: PathLike) -> Any:
    data = read_bytes(path, DataError)
    try:
        # encoding='bytes' keeps Python 2's strings, which are JPEGs here, as the bytes they were
        return _PairsUnpickler(io.BytesIO(data), encoding='bytes').load()
    except _RefusedError as error:
        raise DataError(f'{path}: refused: {error}') from error
    except Exception as error:  # a damaged stream can end in any exception that its opcodes can provoke
        raise DataError(f'{path}: damaged or not a pickle ({reason(error)})') from error


class _RefusedError(Exception):
    """The pickle asks for what no verification set needs."""


class _Dtype:
    """Stands for a `numpy.dtype` of integers or bool."""

    __slots__ = ('code', 'order')

    def __init__(self, code: str) -> None:
        self.code, self.order = code, '<'

    @property
    def size(self) -> int:
        return int(self.code[1])

    def numbers(self, raw: bytes) -> List[int]:
        return [int(number) for number in np.frombuffer(raw, f'{self.order}{self.code}')]

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subdtype, names, fields, ...): a plain type has no parts
        if not (isinstance(state, tuple) and len(state) >= 5 and state[2:5] == (None, None, None)):
            raise _RefusedError('the pickle describes an array type with fields')
        if state[1] in ('>', b'>'):
            self.order = '>'


class _Array:
    """Stands for a `numpy.ndarray`: element type and raw bytes, in one dimension."""

    __slots__ = ('code', 'dtype', 'raw')

    def __init__(self) -> None:
        self.code, self.raw = '', b''
        self.dtype: Optional[_Dtype] = None

    def numbers(self) -> List[int]:
        return self.dtype.numbers(self.raw) if self.dtype else []

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise _RefusedError('the pickle sets an array in an unknown way')
        _version, shape, dtype, _fortran, raw = state
        self.fill(shape, dtype, raw)

    def fill(self, shape: Any, dtype: Any, raw: Any) -> None:
        if not isinstance(dtype, _Dtype):
            raise _RefusedError('the pickle holds an array without an element type')
        if not isinstance(raw, bytes):
            raise _RefusedError('the pickle holds an array whose elements are not bytes')
        sides = shape if isinstance(shape, tuple) else ()
        # one long side at most ((n,), (n, 1)): the order of the elements is then no question
        if not all(type(side) is int for side in sides) or sum(side != 1 for side in sides) > 1:
            raise _RefusedError(
                f'the pickle holds an array of shape {shown(shape)}; an encoded image is a row of bytes'
            )
        if not sides or max(sides) * dtype.size != len(raw) or min(sides) < 0:
            raise _RefusedError(f'the pickle holds an array of shape {shown(shape)} with {len(raw)} bytes')
        self.code, self.dtype, self.raw = dtype.code, dtype, raw


def _make_dtype(code: Any, *_flags: Any) -> _Dtype:
    """Stand for `numpy.dtype(code, align, copy)`."""
    text = code.decode('latin1') if isinstance(code, bytes) else code
    if text not in ANSWERS:
        raise _RefusedError(
            f'the pickle holds an array of type {shown(text)}; only integers and bool are loaded'
        )
    return _Dtype(text)


def _reconstruct(cls: Any, *_shape_and_code: Any) -> _Array:
    """Stand for `numpy.core.multiarray._reconstruct(ndarray, (0,), b'b')`: an array that is filled later."""
    if cls is not _Array:
        raise _RefusedError('the pickle reconstructs something that is not an array')
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, _order: Any) -> _Array:
    """Stand for `numpy.core.numeric._frombuffer(buffer, dtype, shape, order)`, which protocol 5 uses."""
    array = _Array()
    array.fill(shape, dtype, raw)
    return array


def _scalar(dtype: Any, raw: Any) -> int:
    """Stand for `numpy.core.multiarray.scalar(dtype, bytes)`: one boolean or integer."""
    if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes) and len(raw) == dtype.size):
        raise _RefusedError('the pickle holds a number where only booleans and integers are expected')
    return dtype.numbers(raw)[0]


def _encode(text: Any, codec: Any = None) -> bytes:
    """Stand for `_codecs.encode(text, 'latin1')`: how Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or codec != 'latin1':
        raise _RefusedError('the pickle encodes text; only bytes written as latin1 are loaded')
    return text.encode('latin1')


class _PairsUnpickler(RestrictedUnpickler):
    admitted: ClassVar[Dict[Tuple[str, str], Any]] = {
        ('_codecs', 'encode'): _encode,
        ('numpy', 'ndarray'): _Array,
        ('numpy', 'dtype'): _make_dtype,
        ('numpy.core.multiarray', '_reconstruct'): _reconstruct,
        ('numpy.core.multiarray', 'scalar'): _scalar,
        ('numpy.core.numeric', '_frombuffer'): _from_buffer,
    }
    # of the protocols 0 and 1, of images beyond 4 GB, and of writable ones
    more_opcodes = 'INT LONG FLOAT STRING UNICODE LIST GET PUT BINBYTES8 BYTEARRAY8'
    error = _RefusedError
    wrong_name = (
        'the pickle asks for {}; a verification set holds byte strings, lists, booleans and uint8 arrays, '
        'and nothing else is loaded'
    )
    wrong_state = 'the pickle sets the state of a {}'
    wrong_item = 'the pickle fills something that is not a dict of named values'
