from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from config.errors import DataError
from recognition.data import writer
from recognition.data.dataset import FaceDataset
from recognition.data.images import JPEG, PNG, decode_image, encode_image
from recognition.data.record_scan import MAGIC_BYTES
from recognition.data.writer import write_pairs, write_records

import mxnet as mx


def face(seed, size=(16, 16)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def samples(counts):
    number = iter(range(10**6))
    return [
        (encode_image(face(next(number)), PNG), label) for label, n in enumerate(counts) for _ in range(n)
    ]


def test_the_indexed_layout_as_mxnet_reads_it(tmp_path):
    given = samples([2, 3, 1])
    assert write_records(tmp_path / 'set', given, 3, (16, 16, 3)) == 6
    assert sorted(os.listdir(tmp_path / 'set')) == ['property', 'train.idx', 'train.rec']
    assert (tmp_path / 'set' / 'property').read_text() == '3,16,16\n'
    rec = mx.recordio.MXIndexedRecordIO(
        str(tmp_path / 'set' / 'train.idx'), str(tmp_path / 'set' / 'train.rec'), 'r'
    )
    assert sorted(rec.keys) == list(range(10))
    header, image = mx.recordio.unpack(rec.read_idx(0))
    assert (header.flag, header.label.tolist(), image) == (2, [7, 10], b'')
    for key, (encoded, label) in enumerate(given, 1):
        header, image = mx.recordio.unpack(rec.read_idx(key))
        assert (header.flag, header.label, header.id, image) == (0, label, key, encoded)
        assert np.array_equal(mx.image.imdecode(image).asnumpy(), face(key - 1))
    ranges = [mx.recordio.unpack(rec.read_idx(key))[0] for key in (7, 8, 9)]
    assert [(header.flag, header.label.tolist()) for header in ranges] == [
        (2, [1, 3]),
        (2, [3, 6]),
        (2, [6, 7]),
    ]


def test_our_own_reader_gives_the_images_back(tmp_path):
    write_records(tmp_path, samples([2, 3, 1]), 3, (16, 16, 3))
    dataset = FaceDataset(tmp_path)
    assert (len(dataset), dataset.num_classes, dataset.image_shape) == (6, 3, (16, 16, 3))
    assert dataset.labels.tolist() == [0, 0, 1, 1, 1, 2]
    for index in range(6):
        image, label = dataset.read(index)
        assert np.array_equal(image, face(index))
        assert label == dataset.labels[index]


def test_the_number_of_classes_may_be_left_to_the_samples(tmp_path):
    write_records(tmp_path, samples([1, 1]), None, (16, 16, 3))
    assert (tmp_path / 'property').read_text() == '2,16,16\n'


@pytest.mark.parametrize(
    ('labels', 'classes', 'fault'),
    [
        ([0, 2], 3, 'identity 1 has no image'),
        ([1], 2, 'identity 0 has no image'),
        ([0, 1, 0], 2, 'sort by label'),
        ([0, 0], 2, 'identity 1 of 2 has no image'),
        ([0, 1, 2], 2, 'label 2; whole numbers from 0 to 1'),
        ([-1], None, 'label -1'),
        ([], None, 'identity 0 .* no image'),
    ],
)
def test_wrong_labels_leave_an_older_set_alone(tmp_path, labels, classes, fault):
    write_records(tmp_path, samples([1]), 1, (16, 16, 3))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match=fault):
        write_records(tmp_path, [(b'image', label) for label in labels], classes, (16, 16, 3))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_fault_while_reading_samples_leaves_nothing_behind(tmp_path):
    def broken():
        yield from samples([3])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_records(tmp_path, broken(), 1, (16, 16, 3))
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        write_records(tmp_path / 'deep' / 'set', broken(), 1, (16, 16, 3))
    assert not list(tmp_path.iterdir())


def test_a_crash_between_the_renames_leaves_no_set_that_looks_whole(tmp_path, monkeypatch):
    write_records(tmp_path, samples([1]), 1, (16, 16, 3))
    moved = []
    replace = os.replace

    def crash(source, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        replace(source, target)

    monkeypatch.setattr(os, 'replace', crash)
    with pytest.raises(KeyboardInterrupt):
        write_records(tmp_path, samples([2]), 1, (16, 16, 3))
    monkeypatch.undo()
    with pytest.raises(DataError, match='has no property'):
        FaceDataset(tmp_path)


def test_what_a_killed_program_left_goes(tmp_path):
    (tmp_path / 'train.rec.1234.tmp').write_bytes(b'half a set')
    (tmp_path / 'notes.1234.tmp').write_bytes(b'of others')
    write_records(tmp_path, samples([2, 3]), 2, (16, 16, 3))
    assert sorted(os.listdir(tmp_path)) == ['notes.1234.tmp', 'property', 'train.idx', 'train.rec']


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DataError, match='cannot make the folder'):
        write_records(tmp_path / 'file' / 'set', samples([1]), 1, (16, 16, 3))


def test_a_full_disk_is_named(tmp_path):
    (tmp_path / f'train.idx.{os.getpid()}.tmp').symlink_to('/dev/full')
    with pytest.raises(DataError, match=r'cannot write to .*: No space left on device'):
        write_records(tmp_path, samples([1000]), 1, (16, 16, 3))
    assert not list(tmp_path.iterdir())


def test_pairs_as_insightface_reads_them(tmp_path):
    images = [encode_image(face(seed), JPEG) for seed in range(4)]
    path = tmp_path / 'sub' / 'pairs.bin'
    assert write_pairs(path, images, np.array([True, False])) == 2
    with path.open('rb') as file:
        bins, issame = pickle.load(file)
    assert bins == images
    assert issame == [True, False]
    assert [type(answer) for answer in issame] == [bool, bool]
    assert mx.image.imdecode(bins[3]).shape == (16, 16, 3)
    assert os.listdir(path.parent) == ['pairs.bin']


@pytest.mark.parametrize(('count', 'issame'), [(3, [True, False]), (4, [True]), (0, [])])
def test_pairs_that_do_not_add_up(tmp_path, count, issame):
    with pytest.raises(DataError, match=f'{count} images for {len(issame)} pairs'):
        write_pairs(tmp_path / 'pairs.bin', [b'image'] * count, issame)
    assert not list(tmp_path.iterdir())


def test_images_come_back_as_rgb():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0] = 200  # red
    assert np.array_equal(decode_image(encode_image(image, PNG), ''), image)
    assert decode_image(encode_image(image, JPEG), '')[0, 0, 0] > 150
    grey = face(0)[..., 0]
    assert np.array_equal(decode_image(encode_image(grey, PNG), ''), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize('kind', [JPEG, PNG])
def test_a_cut_image_is_named(kind):
    encoded = encode_image(face(0, (64, 64)), kind)
    for length in (0, 1, 10, len(encoded) // 2, len(encoded) - 4):
        with pytest.raises(DataError, match=r'^photo 7 holds'):
            decode_image(encoded[:length], 'photo 7')


def test_a_cut_jpeg_with_zeros_for_its_end_is_named_and_bytes_after_the_end_are_not_minded():
    picture = np.repeat(np.repeat(face(0, (28, 28)), 4, axis=0), 4, axis=1)
    encoded = encode_image(picture, JPEG)
    for lost in (4, 40, len(encoded) // 2):
        with pytest.raises(DataError, match=r'^photo 7 holds .* damaged or cut short'):
            decode_image(encoded[:-lost] + bytes(lost), 'photo 7')
    whole = decode_image(encoded, 'photo 7')
    for after in (bytes(100), b'\xff\xda trailing', encoded):
        assert np.array_equal(decode_image(encoded + after, 'photo 7'), whole)


@pytest.mark.parametrize('place', [[0], [1], [4], [8, 12], [0, 40], [6, 24], [21, 44], []], ids=str)
def test_records_are_written_as_mxnet_writes_them(tmp_path, place):
    """Also where the magic number is inside, which is cut out at multiples of four alone."""
    content = bytearray(range(51))
    for offset in place:
        content[offset : offset + 4] = MAGIC_BYTES
    write_records(tmp_path, [(bytes(content), 0), (bytes(content[:-3]), 1)], 2, (16, 16, 3))
    names = [str(tmp_path / name) for name in ('mx.idx', 'mx.rec')]
    theirs = mx.recordio.MXIndexedRecordIO(*names, 'w')
    for key, image in ((1, bytes(content)), (2, bytes(content[:-3]))):
        theirs.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, float(key - 1), key, 0), image))
    for key, keys in ((0, [3, 5]), (3, [1, 2]), (4, [2, 3])):
        theirs.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(2, keys, key, 0), b''))
    theirs.close()
    for name, other in (('train.idx', 'mx.idx'), ('train.rec', 'mx.rec')):
        assert (tmp_path / name).read_bytes() == (tmp_path / other).read_bytes()


def test_an_image_that_no_record_can_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, 'LENGTH_MASK', 1000)
    with pytest.raises(DataError, match=r'cannot write to .*: a record of 1024 bytes is larger'):
        write_records(tmp_path, [(bytes(1000), 0)], 1, (16, 16, 3))
    assert not list(tmp_path.iterdir())
