from __future__ import annotations

import random
import struct

import pytest

from config.errors import DataError
from recognition.data.record_scan import MAGIC_BYTES, record_offsets, scan

import mxnet as mx


def write(path, payloads):
    writer = mx.recordio.MXIndexedRecordIO(f'{path}.idx', str(path), 'w')
    starts = []
    for number, payload in enumerate(payloads):
        starts.append(writer.tell())
        writer.write_idx(number, payload)
    writer.close()
    return starts


def payloads(count, seed):
    """Records of random length, some with the magic number in them, where the writer cuts them."""
    rng = random.Random(seed)
    parts = [MAGIC_BYTES, b'\0\0\0\0', b'abc', b'x' * 4]
    return [b''.join(rng.choice(parts) for _ in range(rng.randrange(1, 30))) for _ in range(count)]


@pytest.mark.parametrize('seed', range(5))
def test_finds_the_records_that_mxnet_wrote(tmp_path, seed):
    path = tmp_path / 'train.rec'
    starts = write(path, payloads(50, seed))
    assert record_offsets(path).tolist() == starts
    assert not any(found.fault for found in scan(path))


def test_an_empty_file_has_none(tmp_path):
    (tmp_path / 'train.rec').write_bytes(b'')
    assert len(record_offsets(tmp_path / 'train.rec')) == 0


@pytest.mark.parametrize('seed', range(5))
def test_finds_the_way_again_after_any_damaged_head(tmp_path, seed):
    path = tmp_path / 'train.rec'
    starts = write(path, payloads(30, seed))
    data = path.read_bytes()
    for number in (0, 7, 29):
        for spoilt in (b'\0\0\0\0', struct.pack('<I', 0xFFFFFFFF)):
            for place in (0, 4):
                at = starts[number] + place
                path.write_bytes(data[:at] + spoilt + data[at + 4 :])
                found = list(scan(path))
                whole = [each.offset for each in found if not each.fault]
                assert starts[number] in [each.offset for each in found if each.fault] or place
                assert set(starts[number + 1 :]) <= set(whole) | {starts[number]}
                assert set(starts[:number]) <= set(whole)


def test_a_file_that_is_cut_short_anywhere(tmp_path):
    path = tmp_path / 'train.rec'
    starts = write(path, payloads(6, 3))
    data = path.read_bytes()
    for size in range(1, len(data)):
        path.write_bytes(data[:size])
        if size in starts:
            assert record_offsets(path).tolist() == [start for start in starts if start < size]
            continue
        with pytest.raises(DataError, match=r'train\.rec, offset \d+: '):
            record_offsets(path)
