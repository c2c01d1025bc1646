"""Sizes of images by their headers, and images that are refused before they take memory."""

from __future__ import annotations

import os
import struct

import cv2
import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError, DataError
from recognition.data.dataset import read_property
from recognition.data.image_headers import VARIABLE, declared_size
from recognition.data.image_sources import SUFFIXES
from recognition.data.images import decode_image
from recognition.engines.base import agreed_shape

HEIGHT, WIDTH = 13, 29
BIG = (7000, 8000)


def encoded(suffix: str) -> bytes:
    shape = (HEIGHT, WIDTH) if suffix == '.pgm' else (HEIGHT, WIDTH, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return bytes(cv2.imencode(suffix, image)[1])


def enlarged(suffix: str) -> bytes:
    """Return an image whose header alone says BIG."""
    (height, width), content = BIG, encoded(suffix)
    if suffix in ('.pgm', '.ppm'):
        return content.replace(b'29 13', b'%d %d' % (width, height), 1)
    if suffix in ('.tif', '.tiff'):  # tag, kind, count, value
        for tag, old, new in ((256, WIDTH, width), (257, HEIGHT, height)):
            entry = struct.pack('<HHI', tag, 3, 1)
            content = content.replace(entry + struct.pack('<H', old), entry + struct.pack('<H', new), 1)
        return content
    if suffix == '.webp':  # without loss
        bits = struct.unpack_from('<I', content, 21)[0] >> 28 << 28 | (height - 1) << 14 | (width - 1)
        return content[:21] + struct.pack('<I', bits) + content[25:]
    form, *which = {'.png': ('>II', 1, 0), '.bmp': ('<ii', 1, 0)}.get(suffix, ('>HH', 0, 1))
    old, new = (struct.pack(form, *(size[side] for side in which)) for size in ((HEIGHT, WIDTH), BIG))
    return content.replace(old, new, 1)


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_the_size_is_that_of_the_decoded_image(suffix):
    content = encoded(suffix)
    assert declared_size(content) == decode_image(content, 'it').shape[:2] == (HEIGHT, WIDTH)
    assert declared_size(enlarged(suffix)) == BIG


def test_a_marker_of_jpeg_without_a_length_stands_before_the_one_of_the_size():
    content = encoded('.jpg')
    place = content.index(b'\xff\xc0')
    assert declared_size(content[:place] + b'\xff\x01' + content[place:]) == (HEIGHT, WIDTH)


def test_forms_that_opencv_does_not_write():
    tile = [(256, 4, 1, 64), (257, 4, 1, 64), (322, 4, 1, 1 << 16), (323, 3, 1, 1 << 15)]
    for order, magic in (('<', b'II*\0'), ('>', b'MM\0*')):
        entries = b''.join(
            struct.pack(f'{order}HHI', *entry[:3])
            + struct.pack(f'{order}{"IH"[entry[1] == 3]}', entry[3]).ljust(4, b'\0')
            for entry in tile
        )
        content = magic + struct.pack(f'{order}IH', 8, 4) + entries
        assert declared_size(content) == (1 << 15, 1 << 16)
        assert declared_size(content[:-3]) is None
        assert (
            declared_size(content.replace(struct.pack(f'{order}H', 322), struct.pack(f'{order}H', 256)))
            is None
        )
    big = b'II+\0' + struct.pack('<HHQQ', 8, 0, 16, 2)
    big += struct.pack('<HHQQ', 256, 16, 1, 9) + struct.pack('<HHQQ', 257, 16, 1, 7)
    assert declared_size(big) == (7, 9)
    assert declared_size(b'GIF89a' + struct.pack('<HH', 9, 7)) == (7, 9)
    assert declared_size(b'P4 # of a\n#b\n9 #c\n7\n') == (7, 9)
    assert declared_size(b'P4\n#a\r9 7\n#\n1 1\n') == (7, 9)
    assert declared_size(b'P4 4000000000 7\n') == (7, 4_000_000_000)
    assert declared_size(b'BM' + bytes(12) + struct.pack('<IHH', 12, 9, 7)) == (7, 9)
    assert declared_size(b'BM' + bytes(12) + struct.pack('<Iii', 40, 9, -7)) == (7, 9)
    for kind, rest in (
        (b'VP8X', bytes(8) + b'\x08\0\0\x06\0\0'),
        (b'VP8 ', bytes(10) + struct.pack('<HH', 9, 7)),
    ):
        assert declared_size(b'RIFF' + bytes(4) + b'WEBP' + kind + rest) == (7, 9)


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_a_large_image_is_refused_before_it_is_decoded(suffix, monkeypatch):
    content, decode = enlarged(suffix), cv2.imdecode
    monkeypatch.setattr(cv2, 'imdecode', lambda *given: pytest.fail('it was decoded'))
    with pytest.raises(DataError, match=r'^a face is an image of 8000x7000 pixels .* 50 million at most'):
        decode_image(content, 'a face')
    monkeypatch.setenv(VARIABLE, '56M')
    monkeypatch.setattr(cv2, 'imdecode', lambda *given: None)
    with pytest.raises(DataError, match='no readable image'):
        decode_image(content, 'a face')
    monkeypatch.setattr(cv2, 'imdecode', decode)
    monkeypatch.setenv(VARIABLE, '376')
    with pytest.raises(DataError, match=r'29x13 pixels .* 0\.000376 million at most'):
        decode_image(encoded(suffix), 'a face')
    monkeypatch.setenv(VARIABLE, 'many')
    with pytest.raises(ConfigError, match=f'{VARIABLE} .many. is no amount'):
        decode_image(content, 'a face')


@pytest.mark.parametrize(
    'content', [b'\x89PNG\r\n\x1a\n\x70\0\0\0', b'\xff\xd8\xff', b'\xff\xd8\xff\xda', b'BM', b'II*\0']
)
def test_a_damaged_header_is_refused_before_it_takes_memory(content, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', lambda *given: pytest.fail('it was decoded'))
    with pytest.raises(DataError, match=f'holds {len(content)} bytes that are no readable image'):
        decode_image(content, 'a face')


def test_a_chunk_beyond_the_end_is_damage_wherever_it_is():
    content = encoded('.png')
    end = content.index(b'IEND') - 4
    assert declared_size(content[:end] + b'\x70\0\0\0tEXt' + content[end:]) is None
    assert declared_size(content + os.urandom(9)) == (HEIGHT, WIDTH)  # behind the end anything may follow


def test_sizes_that_other_files_declare(tmp_path):
    path = tmp_path / 'property'
    path.write_text('4,20000,20000')
    with pytest.raises(DataError, match=r'property says images of 20000x20000 pixels'):
        read_property(path)
    path.write_text('9' * 5000 + ',112,112')
    with pytest.raises(DataError, match='property begins with'):
        read_property(path)
    with pytest.raises(CheckpointError, match=r'^net takes images of 90000x90000 pixels'):
        agreed_shape('net', (90000, 90000, 3), None)
