"""How large an encoded image says it is, read before OpenCV makes room for it.

OpenCV has no call for that, and its own limit (OPENCV_IO_MAX_IMAGE_PIXELS) is read once, when cv2 is imported, and
comes after a PNG's chunks have been given the memory that they ask for. Sources: ITU-T T.81 (JPEG), W3C PNG, TIFF 6.0,
RFC 9649 (WebP), GIF89a, netpbm's man pages, Microsoft's BITMAPINFOHEADER.
"""

from __future__ import annotations

import os
import re
import struct
from typing import Callable, Dict, Optional, Tuple

from recognition.utils.amounts import parse_amount

Size = Tuple[int, int]  # height, width
MAX_PIXELS = 50_000_000  # of an image; decoding takes six bytes for each
VARIABLE = 'FACESYMBOLS_MAX_PIXELS'  # of the environment, sets another number

PNG_BEGIN = b'\x89PNG\r\n\x1a\n'
PNG_CHUNK = 12  # bytes beside its content: length, type, sum
BARE_MARKERS = (0x01, *range(0xD0, 0xD8))  # of JPEG, without a length
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG's markers that give the size
SCAN = 0xDA  # JPEG's pixels begin
NETPBM = re.compile(rb'P[1-6](?:\s|#[^\r\n]*[\r\n])+?(\d{1,10})(?:\s|#[^\r\n]*[\r\n])+(\d{1,10})\s')
TIFF_SIDES = ((257, 256), (323, 322))  # tags of height and width: of the image, and of a tile
TIFF_KINDS = {
    1: 'B',
    3: 'H',
    4: 'I',
    8: 'H',
    9: 'I',
    16: 'Q',
}  # of whole numbers; a negative one is too large


def max_pixels() -> int:
    """Return how many pixels an image may have."""
    return parse_amount(VARIABLE, os.environ[VARIABLE]) if VARIABLE in os.environ else MAX_PIXELS


def size_fault(size: Size) -> str:
    """Return what is wrong with an image of that size; '' where it may be decoded."""
    height, width = size
    most = max_pixels()
    if height * width <= most:
        return ''
    return (
        f'{width}x{height} pixels (width x height), where {most / 1e6:g} million at most are allowed; the environment '
        f'variable {VARIABLE} sets another number'
    )


def declared_size(encoded: bytes) -> Optional[Size]:
    """Return (height, width) of an image; None where its header is damaged, or of no format in READERS."""
    read = next((read for begin, read in READERS.items() if encoded.startswith(begin)), None)
    try:
        return read(encoded) if read else None
    except (struct.error, LookupError, ValueError):
        return None


def _jpeg(encoded: bytes) -> Optional[Size]:
    place = 2
    while True:
        place = encoded.index(b'\xff', place)
        while encoded[place] == 0xFF:
            place += 1
        marker = encoded[place]
        if marker in FRAMES:
            height, width = struct.unpack_from('>HH', encoded, place + 4)
            return height, width
        if marker == SCAN:
            return None
        bare = marker == 0 or marker in BARE_MARKERS
        place += 1 if bare else 1 + struct.unpack_from('>H', encoded, place + 1)[0]


def _png(encoded: bytes) -> Optional[Size]:
    """A chunk that is longer than the file has no end; OpenCV would first make room for it."""
    place = len(PNG_BEGIN)
    while place < len(encoded):
        length, kind = struct.unpack_from('>I4s', encoded, place)
        place += PNG_CHUNK + length
        if kind == b'IEND':
            break
    width, height = struct.unpack_from('>II', encoded, len(PNG_BEGIN) + 8)
    whole = place <= len(encoded) and encoded[len(PNG_BEGIN) + 4 :].startswith(b'IHDR')
    return (height, width) if whole else None


def _bmp(encoded: bytes) -> Size:
    older = struct.unpack_from('<I', encoded, 14)[0] == 12
    width, height = struct.unpack_from('<HH' if older else '<ii', encoded, 18)
    return abs(height), abs(width)


def _webp(encoded: bytes) -> Optional[Size]:
    kind = encoded[8:16]
    if kind == b'WEBPVP8 ':
        width, height = struct.unpack_from('<HH', encoded, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b'WEBPVP8L':
        bits = struct.unpack_from('<I', encoded, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b'WEBPVP8X':
        width, height = (int.from_bytes(encoded[place : place + 3], 'little') + 1 for place in (24, 27))
        return height, width
    return None


def _tiff(encoded: bytes) -> Size:
    order = '<' if encoded[:2] == b'II' else '>'
    big = encoded[2:4].strip(b'\0') == b'+'  # number 43, BigTIFF
    start = struct.unpack_from(order + ('Q' if big else 'I'), encoded, 8 if big else 4)[0]
    (count,) = struct.unpack_from(order + ('Q' if big else 'H'), encoded, start)
    first, step, place = (start + 8, 20, 12) if big else (start + 2, 12, 8)
    tags: Dict[int, int] = {}
    for entry in range(first, first + step * count, step):
        tag, kind = struct.unpack_from(order + 'HH', encoded, entry)
        if any(tag in sides for sides in TIFF_SIDES):
            if tag in tags:  # of two the decoder may take the other one
                raise ValueError(tag)
            tags[tag] = struct.unpack_from(order + TIFF_KINDS[kind], encoded, entry + place)[0]
    sizes = [(tags[height], tags[width]) for height, width in TIFF_SIDES if {height, width} & tags.keys()]
    return max(sizes, key=lambda size: size[0] * size[1])


def _gif(encoded: bytes) -> Size:
    width, height = struct.unpack_from('<HH', encoded, 6)
    return height, width


def _netpbm(encoded: bytes) -> Optional[Size]:
    found = NETPBM.match(encoded)
    return (int(found[2]), int(found[1])) if found else None


READERS: Dict[bytes, Callable[[bytes], Optional[Size]]] = {
    b'\xff\xd8': _jpeg,
    PNG_BEGIN: _png,
    b'BM': _bmp,
    b'RIFF': _webp,
    **dict.fromkeys((b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'), _tiff),
    b'GIF8': _gif,
    **{b'P%d' % number: _netpbm for number in range(1, 7)},
}
FORMATS = 'JPEG, PNG, BMP, WebP, TIFF, GIF, PBM, PGM or PPM'
