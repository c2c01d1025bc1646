"""Every fault of a data set is found, each in a set that has all of the others, too, and none where there is none."""

from __future__ import annotations

import os
import pickle
import re
import signal

import numpy as np
import pytest

from config.errors import DataError
from recognition.data.images import PNG, encode_image
from recognition.data.validation import dataset as data_check
from recognition.data.validation.dataset import check_data
from recognition.data.validation.report import KINDS
from recognition.data.writer import write_pairs, write_records

import mxnet as mx

SIDE = 16


def face(seed, side=SIDE):
    return encode_image(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8), PNG)


def record(label, encoded=b'', key=0):
    return mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), encoded)


def write(folder, records):
    writer = mx.recordio.MXIndexedRecordIO(str(folder / 'train.idx'), str(folder / 'train.rec'), 'w')
    for key, content in records.items():
        writer.write_idx(key, content)
    writer.close()


def read(folder):
    reader = mx.recordio.MXIndexedRecordIO(str(folder / 'train.idx'), str(folder / 'train.rec'), 'r')
    records = {key: reader.read_idx(key) for key in reader.keys}
    reader.close()
    return records


@pytest.fixture
def folder(tmp_path):
    """Five identities of four images (keys 1 to 20, identity records 21 to 25), and pairs of other people."""
    path = tmp_path / 'faces'
    write_records(path, ((face(n), n // 4) for n in range(20)), 5, (SIDE, SIDE, 3))
    write_pairs(path / 'lfw.bin', [face(100 + n) for n in range(8)], [True, False, True, False])
    return path


def kinds(checked):
    return {kind: sentences for kind, sentences in checked.faults.sentences.items() if sentences}


@pytest.mark.parametrize('workers', [0, 2])
def test_a_good_set_has_no_fault(folder, workers):
    checked = check_data(folder, workers=workers)
    assert kinds(checked) == {}
    assert (checked.images, checked.identities, checked.pairs) == (20, 5, {'lfw': 4})


def test_a_good_set_without_index_has_none_either(folder):
    (folder / 'train.idx').unlink()
    checked = check_data(folder)
    assert kinds(checked) == {}
    assert (checked.images, checked.identities) == (20, 5)


@pytest.mark.parametrize('line', ['a\tb', '5', f'91\t{"9" * 19}', '1\t2\t3'])
def test_a_line_of_the_index_that_is_none_is_named(folder, line):
    with (folder / 'train.idx').open('a') as file:
        file.write(line + '\n')
    (fault,) = kinds(check_data(folder))['index']
    assert fault.endswith(f'{line.encode()!r} where key<TAB>offset is wanted')


def damage(folder):
    """Give a set one or two faults of every kind."""
    records = read(folder)
    records[2] = record(0.0, face(0))  # a copy of image 1, in the same identity
    records[6] = record(1.0, face(2))  # a copy of image 3, in another one
    records[7] = record(1.0, face(7)[:60])  # cut short
    records[8] = record(1.0, face(8, 20))  # another size
    records[12] = record(9.0, face(12))  # a label beyond property
    records[24] = record([13.0, 15.0])  # leaves out 15 and 16
    records[25] = record([16.0, 21.0])  # takes 16, too, with label 3
    lost = records.pop(20)
    write(folder, {**records, 77: lost})
    lines = (folder / 'train.idx').read_text().splitlines()
    kept = [line for line in lines if not line.startswith('77\t')]
    (folder / 'train.idx').write_text('\n'.join([*kept, '90\t12345678', 'nonsense', kept[3]]) + '\n')
    data = bytearray((folder / 'train.rec').read_bytes())
    offset = int(next(line for line in kept if line.startswith('10\t')).split('\t')[1])
    data[offset : offset + 4] = b'\0\0\0\0'
    (folder / 'train.rec').write_bytes(data)
    (folder / 'property').write_text(f'7,{SIDE},{SIDE}')
    write_pairs(folder / 'cfp.bin', [face(4), face(200), face(201), face(201)], [True, False])
    (folder / 'agedb.bin').write_bytes(pickle.dumps(([face(1)] * 3, [True]), protocol=4))


EXPECTED = {
    'record': ['0 stands where RecordIO'],
    'index': ['key 10 leads to offset', 'key 90 leads to offset 12345678', "'nonsense'", 'stands twice'],
    'lost': ['a record that train.idx does not list', 'counts image 20, which is missing', 'counts image 10'],
    'identity': ['record 15 .* is in the range of no identity', 'holds images of the labels 3, 4'],
    'label': [
        'record 12 .* has label 9; whole numbers from 0 to 6',
        'says 7 classes, and 2 of them have no image: 5, 6',
    ],
    'image': ['record 7 .* holds 60 bytes'],
    'size': ['record 8 .* is an image of 20x20 pixels, and property says 16x16'],
    'duplicate': [r'record 1 \(label 0\), train.rec record 2 \(label 0\)'],
    'conflict': [r'record 3 \(label 0\), train.rec record 6 \(label 1\)'],
    'pairs': [
        'cfp.bin: pair 1 is one image twice, and is said to show two people',
        'agedb.bin: 3 images for 1',
    ],
    'shared': [r'cfp.bin: image 0 is the same as train.rec record 5 \(label 1\)'],
}


def test_every_fault_is_named_in_one_pass(folder):
    damage(folder)
    found = kinds(check_data(folder))
    assert set(EXPECTED) == set(KINDS) - {'property'}
    for kind, sentences in EXPECTED.items():
        for sentence in sentences:
            assert any(re.search(sentence, text) for text in found[kind]), (kind, sentence, found[kind])
    assert len(found['size']) == len(found['image']) == len(found['duplicate']) == len(found['record']) == 1
    assert set(found) == set(EXPECTED)


def test_identity_records_that_say_nothing(folder):
    records = read(folder)
    records[21], records[22], records[23] = record([1.0]), record([5.0, 5.0]), record([9.0, 60.0])
    del records[24]
    write(folder, records)
    sentences = '\n'.join(kinds(check_data(folder))['identity'])
    assert 'record 21 ' in sentences
    assert 'should have the labels [first, last) and has [1.0]' in sentences
    assert 'has the range [5, 5), which is empty' in sentences
    assert 'has the range [9, 60), which is not within the image keys 1 to 20' in sentences
    assert 'identity record 24 is missing' in '\n'.join(kinds(check_data(folder))['lost'])


def test_a_header_that_says_nothing_and_identities_that_overlap(folder):
    records = read(folder)
    write(folder, {**records, 0: record([3.0])})
    assert 'where the range of the identity records is wanted' in kinds(check_data(folder))['identity'][0]
    write(folder, {**records, 22: record([5.0, 12.0])})
    assert 'image 9 is in the identity records 22 and 23' in '\n'.join(kinds(check_data(folder))['identity'])


def test_a_damaged_property_does_not_end_the_check(folder):
    (folder / 'property').write_text('what?')
    records = read(folder)
    write(folder, {**records, 7: record(1.0, b'\xff\xd8 no image')})
    found = kinds(check_data(folder))
    assert set(found) == {'property', 'image'}


@pytest.mark.parametrize('name', ['train.rec', None])
def test_nothing_to_check_is_an_error(folder, name):
    if name:
        (folder / name).unlink()
    with pytest.raises(DataError, match=r'has no train\.rec' if name else 'there is no folder'):
        check_data(folder if name else folder / 'nowhere')


def test_a_killed_worker_is_an_error(folder, monkeypatch):
    look = data_check.Looker.look

    def die(looker, key):
        if key == 13 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return look(looker, key)

    parent = os.getpid()
    monkeypatch.setattr(data_check.Looker, 'look', die)
    with pytest.raises(DataError, match='was killed, perhaps for want of memory'):
        check_data(folder, workers=2)
