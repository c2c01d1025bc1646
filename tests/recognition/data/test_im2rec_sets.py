"""Sets as im2rec packs them, whose keys begin anywhere: one verdict of training, the check and the index made anew."""

from __future__ import annotations

import numpy as np
import pytest

from config.errors import DataError
from recognition.data.dataset import FaceDataset, JoinedDataset, read_property
from recognition.data.images import PNG, encode_image
from recognition.data.record_index import write_indices
from recognition.data.sampler import SAMPLERS
from recognition.data.validation import check_data
from tests.helpers.noise import SIDE, face, write_noise

import mxnet as mx

LABELS = [0, 0, 1, 1, 2, 2]


def write_set(folder, keys, labels=LABELS):
    """Write images alone, as im2rec does: flag 0, and the key as the id."""
    folder.mkdir()
    writer = mx.recordio.MXIndexedRecordIO(str(folder / 'train.idx'), str(folder / 'train.rec'), 'w')
    for number, (key, label) in enumerate(zip(keys, labels)):
        header = mx.recordio.IRHeader(0, float(label), key, 0)
        writer.write_idx(key, mx.recordio.pack(header, encode_image(face(number), PNG)))
    writer.close()
    (folder / 'property').write_text(f'3,{SIDE},{SIDE}\n')
    return folder


def read_all(dataset):
    return [(dataset.read(index)[0].tobytes(), int(dataset.labels[index])) for index in range(len(dataset))]


@pytest.mark.parametrize('keys', [range(1, 7), range(6), (3, 9, 11, 40, 41, 999)])
def test_images_alone_are_read_as_without_an_index(keys, tmp_path):
    folder = write_set(tmp_path / 'set', keys)
    dataset = FaceDataset(folder)
    expected = [(face(number).tobytes(), label) for number, label in enumerate(LABELS)]
    assert read_all(dataset) == read_all(FaceDataset(folder, use_index=False)) == expected
    assert dataset.keys.tolist() == list(keys)
    assert len(SAMPLERS['balanced'](dataset.labels, 2, np.random.default_rng(0))) == 6
    assert JoinedDataset([dataset, dataset]).read(8)[1] == 4
    checked = check_data(folder, workers=0)
    assert (checked.images, checked.identities, len(checked.faults)) == (6, 3, 0)
    before = (folder / 'train.idx').read_bytes()
    (folder / 'train.idx').unlink()
    ((_, count),) = write_indices(folder)
    assert count == 6
    assert (folder / 'train.idx').read_bytes() == before
    assert read_all(FaceDataset(folder)) == expected


def drop_key(folder, key):
    lines = (folder / 'train.idx').read_text().splitlines(keepends=True)
    (folder / 'train.idx').write_text(''.join(line for line in lines if not line.startswith(f'{key}\t')))


def test_identity_records_without_their_header_are_a_fault_everywhere(tmp_path):
    folder = write_noise(tmp_path / 'set')
    whole = read_all(FaceDataset(folder))
    drop_key(folder, 0)
    with pytest.raises(
        DataError, match=r'train\.idx has no key 0, the header of identity records such as key 21'
    ) as one:
        FaceDataset(folder)
    assert str(one.value) in check_data(folder, workers=0).faults.sentences['identity']
    (folder / 'train.idx').unlink()
    write_indices(folder)
    assert read_all(FaceDataset(folder)) == whole
    assert not check_data(folder, workers=0).faults.sentences['identity']


def test_a_header_that_is_not_the_first_record_is_no_image(tmp_path):
    folder = write_set(tmp_path / 'set', range(6))
    writer = mx.recordio.MXIndexedRecordIO(str(folder / 'more.idx'), str(folder / 'more.rec'), 'w')
    writer.write_idx(6, mx.recordio.pack(mx.recordio.IRHeader(2, [1.0, 2.0], 6, 0), b''))
    writer.close()
    size = (folder / 'train.rec').stat().st_size
    with open(folder / 'train.rec', 'ab') as file:
        file.write((folder / 'more.rec').read_bytes())
    with open(folder / 'train.idx', 'a') as file:
        file.write(f'6\t{size}\n')
    assert FaceDataset(folder).keys.tolist() == [*range(6)]
    assert check_data(folder, workers=0).images == 6


def test_a_key_that_is_there_twice_is_a_fault_everywhere(tmp_path):
    folder = write_set(tmp_path / 'set', range(1, 7))
    with open(folder / 'train.idx', 'a') as file:
        file.write('3\t0\n')
    with pytest.raises(DataError, match='lists key 3 twice'):
        FaceDataset(folder)
    assert 'key 3 stands twice' in check_data(folder, workers=0).faults.sentences['index'][0]


@pytest.mark.parametrize('text', ['\ufeff8,112,112\n', '8,112,112\r\n\r\n', ' 8, 112, 112 \n'])
def test_a_property_of_an_editor(text, tmp_path):
    (tmp_path / 'property').write_bytes(text.encode())
    assert read_property(tmp_path / 'property') == (8, (112, 112, 3))
