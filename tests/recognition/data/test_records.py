from __future__ import annotations

import os
import pickle
import struct
import threading

import numpy as np
import pytest

from config.errors import DataError
from recognition.data.records import Records, read_index

import mxnet as mx

MAGIC = struct.pack('<I', 0xCED7230A)
PAYLOADS = [
    b'',
    b'a',
    b'abcdefg' * 100,
    MAGIC,
    MAGIC * 3,
    MAGIC + b'rest',
    b'four' + MAGIC + b'four' + MAGIC,
    b'odd' + MAGIC + b'not aligned',
    b'eight888' + MAGIC + b'x' * 1001 + MAGIC,
]


def write(folder, payloads, keys=None):
    rec, idx = folder / 'train.rec', folder / 'train.idx'
    writer = mx.recordio.MXIndexedRecordIO(str(idx), str(rec), 'w')
    for key, payload in zip(keys or range(len(payloads)), payloads):
        writer.write_idx(key, payload)
    writer.close()
    return rec, idx


def headed(labels=7.0, encoded=b'image', key=3):
    return mx.recordio.pack(mx.recordio.IRHeader(0, labels, key, 0), encoded)


def test_reads_what_mxnet_writes_also_where_the_magic_number_splits_records(tmp_path):
    records = Records(*write(tmp_path, PAYLOADS))
    assert len(records) == len(PAYLOADS)
    assert [records.read(key) for key in range(len(PAYLOADS))] == PAYLOADS
    parts = (tmp_path / 'train.rec').read_bytes().count(MAGIC)
    assert parts > len(PAYLOADS) + 5  # the splitting was really exercised


def test_random_payloads_of_few_symbols(tmp_path):
    rng = np.random.default_rng(0)
    symbols = [MAGIC, MAGIC, b'\n#\xd7\xce'[::-1], b'\0\0\0\0', b'z']
    payloads = [b''.join(symbols[i] for i in rng.integers(0, 5, rng.integers(0, 12))) for _ in range(300)]
    records = Records(*write(tmp_path, payloads))
    assert [records.read(key) for key in range(300)] == payloads


def test_keys_may_stand_in_any_order(tmp_path):
    records = Records(*write(tmp_path, [b'nine', b'two', b'five'], keys=[9, 2, 5]))
    assert records.keys.tolist() == [9, 2, 5]
    assert [records.read(key) for key in (2, 5, 9)] == [b'two', b'five', b'nine']
    assert 5 in records
    assert 4 not in records
    assert 10 not in records


@pytest.mark.parametrize('label', [4.0, [2.0], [1.0, 2.5], list(range(40))])
def test_headers_agree_with_mxnet(tmp_path, label):
    payload = mx.recordio.pack(mx.recordio.IRHeader(0, label, 12, 34), b'an image')
    records = Records(*write(tmp_path, [payload]))
    expected, encoded = mx.recordio.unpack(payload)
    header, image = records.unpack(0)
    assert (header.flag, header.id, header.id2, image) == (expected.flag, 12, 34, encoded)
    assert header.labels.dtype == np.float32
    assert np.array_equal(header.labels, np.atleast_1d(np.float32(label)))
    short = records.read_header(0)
    assert (short.flag, short.id, short.labels.tolist()) == (header.flag, 12, header.labels.tolist())


def test_a_header_that_holds_the_magic_number(tmp_path):
    payload = mx.recordio.pack(mx.recordio.IRHeader(0, 1.0, 0xCED7230A, 0), b'image')
    records = Records(*write(tmp_path, [b'', payload]))
    assert records.read_header(1).id == 0xCED7230A
    assert records.unpack(1)[1] == b'image'


def test_forks_and_threads_share_a_file(tmp_path):
    payloads = [bytes([i]) * 5000 for i in range(100)]
    records = Records(*write(tmp_path, payloads))
    wrong = []

    def check():
        for key in np.random.default_rng().integers(0, 100, 500):
            if records.read(int(key)) != payloads[key]:
                wrong.append(key)

    child = os.fork()
    if child == 0:
        check()
        os._exit(len(wrong) > 0)
    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert not wrong


def test_a_file_that_is_cut_short_at_any_byte(tmp_path):
    rec, idx = write(tmp_path, [b'whole', b'four' + MAGIC + b'more'])
    data = rec.read_bytes()
    second = int(read_index(idx)[1][1])
    for length in range(second, len(data)):
        rec.write_bytes(data[:length])
        records = Records(rec, idx)
        assert records.read(0) == b'whole'
        with pytest.raises(DataError, match=rf'train\.rec: record 1 \(offset {second}\) .*cut short'):
            records.read(1)


def test_faults_name_file_record_and_offset(tmp_path):
    rec, idx = write(tmp_path, [headed(), b'tiny', headed([1.0, 2.0])])
    data = bytearray(rec.read_bytes())
    records = Records(rec, idx)
    with pytest.raises(DataError, match=r'record 1 .* holds 4 bytes'):
        records.unpack(1)
    with pytest.raises(DataError, match=r'train\.idx has no key 8'):
        records.read(8)

    start = int(records.offsets[2])
    data[start + 8] = 200  # the flag: how many labels follow
    rec.write_bytes(data)
    with pytest.raises(DataError, match=r'record 2 .* promises 200 labels'):
        Records(rec, idx).read_header(2)
    data[start] ^= 1
    rec.write_bytes(data)
    for read in (Records.read, Records.read_header, Records.unpack):
        with pytest.raises(
            DataError, match=rf'record 2 \(offset {start}\) .* magic number but with 0b23d7ce'
        ):
            read(Records(rec, idx), 2)


def test_an_offset_into_the_middle_of_a_record(tmp_path):
    rec, idx = write(tmp_path, [b'four' + MAGIC + b'more', b'next'])
    idx.write_text('0\t12\n1\t28\n')  # the second part of record 0
    with pytest.raises(DataError, match=r'record 0 \(offset 12\) begins in the middle'):
        Records(rec, idx).read(0)


def test_a_record_whose_last_part_is_missing(tmp_path):
    rec, idx = write(tmp_path, [b'four' + MAGIC + b'more', b'next'])
    data = rec.read_bytes()
    rec.write_bytes(data[:12] + data[24:])
    with pytest.raises(DataError, match=r'record 0 .* breaks off'):
        Records(rec, idx).read(0)


def test_an_offset_beyond_the_end(tmp_path):
    rec, idx = write(tmp_path, [b'one'])
    idx.write_text('0\t4096\n')
    with pytest.raises(
        DataError, match=r'record 0 \(offset 4096\) begins beyond the end of the file \(12 bytes\)'
    ):
        Records(rec, idx).read(0)


def test_missing_files_and_a_closed_one(tmp_path):
    rec, idx = write(tmp_path, [b'one'])
    with pytest.raises(DataError, match=r'no\.rec cannot be read: No such file'):
        Records(tmp_path / 'no.rec', idx)
    with pytest.raises(DataError, match=r'no\.idx cannot be read: No such file'):
        Records(rec, tmp_path / 'no.idx')
    records = Records(rec, idx)
    records.close()
    records.close()
    with pytest.raises(DataError, match='closed'):
        records.read(0)


@pytest.mark.parametrize(
    ('text', 'line'),
    [
        ('0\t0\n1 12\n', 2),
        ('0\t0\n1\n', 2),
        ('0\t0\n1\t\n', 2),
        ('0\t0\n\t12\n2\t24\n', 2),
        ('0\t0\n1\t12\t3\n4\n', 2),
        ('0\t0\n-1\t12\n', 2),
        ('0\t0\n1\t1x2\n', 2),
        ('0\t0\n\n1\t12\n', 2),
        ('key\toffset\n0\t0\n', 1),
    ],
)
def test_a_malformed_index_line_is_named(tmp_path, text, line):
    path = tmp_path / 'train.idx'
    path.write_text(text)
    with pytest.raises(DataError, match=rf'train\.idx, line {line} is '):
        read_index(path)


@pytest.mark.parametrize('number', ['99999999999999999999999', str(2**63 - 1)])
@pytest.mark.parametrize('line', ['0\t{}', '{}\t0'])
def test_a_number_too_large_for_an_index_stands_as_it_is_in_the_file(tmp_path, number, line):
    path = tmp_path / 'train.idx'
    path.write_text('5\t0\n' + line.format(number) + '\n')
    with pytest.raises(DataError, match=rf'train\.idx, line 2 has the number {number}, which is too large'):
        read_index(path)


@pytest.mark.parametrize('text', ['', '\n', ' '])
def test_an_empty_index(tmp_path, text):
    path = tmp_path / 'train.idx'
    path.write_text(text)
    with pytest.raises(DataError, match='is empty'):
        read_index(path)


@pytest.mark.parametrize('text', [b'0\t0\n1\t12\n', b'0\t0\n1\t12', b'0\t0\r\n1\t12\r\n'])
def test_line_ends_of_an_index(tmp_path, text):
    path = tmp_path / 'train.idx'
    path.write_bytes(text)
    keys, offsets = read_index(path)
    assert keys.tolist() == [0, 1]
    assert offsets.tolist() == [0, 12]
    assert keys.dtype == offsets.dtype == np.int64


def test_a_key_that_stands_twice(tmp_path):
    rec, idx = write(tmp_path, [b'one', b'two'])
    idx.write_text('5\t0\n5\t12\n')
    with pytest.raises(DataError, match='key 5 twice'):
        Records(rec, idx)


def test_a_data_error_survives_the_way_out_of_a_process():
    error = pickle.loads(pickle.dumps(DataError('train.rec: record 3')))
    assert type(error) is DataError
    assert str(error) == 'train.rec: record 3'
