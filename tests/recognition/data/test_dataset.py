from __future__ import annotations

import numpy as np
import pytest

from config.errors import DataError
from recognition.data.dataset import FaceDataset, JoinedDataset, open_faces, read_property, split_path
from recognition.data.images import JPEG, PNG, encode_image
from tests.helpers.noise import SIDE, face, write_noise

import mxnet as mx


def write_flat(folder, entries, text, keys=None):
    """Write (header label, encoded) as records with the given keys, and `text` as property."""
    folder.mkdir(exist_ok=True)
    writer = mx.recordio.MXIndexedRecordIO(str(folder / 'train.idx'), str(folder / 'train.rec'), 'w')
    for key, (label, encoded) in zip(keys or range(len(entries)), entries):
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), encoded))
    writer.close()
    (folder / 'property').write_text(text)


@pytest.fixture
def folder(tmp_path):
    """Four identities of 5, 6, 7 and 2 images, in the indexed layout."""
    return write_noise(tmp_path / 'faces')


def rewrite(folder, key, label, encoded=b''):
    """Write the set again with another record in place of one."""
    names = [str(folder / name) for name in ('train.idx', 'train.rec')]
    reader = mx.recordio.MXIndexedRecordIO(*names, 'r')
    records = {k: reader.read_idx(k) for k in reader.keys}
    reader.close()
    records[key] = mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), encoded)
    writer = mx.recordio.MXIndexedRecordIO(*names, 'w')
    for k, payload in records.items():
        writer.write_idx(k, payload)
    writer.close()


def test_indexed_layout(folder):
    dataset = FaceDataset(folder, (SIDE, SIDE, 3))
    assert len(dataset) == 20
    assert dataset.keys.tolist() == list(range(1, 21))
    assert dataset.labels.tolist() == [0] * 5 + [1] * 6 + [2] * 7 + [3] * 2
    assert dataset.labels.dtype == dataset.keys.dtype == np.int64
    image, label = dataset.read(11)
    assert (image.shape, image.dtype, label) == ((SIDE, SIDE, 3), np.uint8, 2)
    expected = mx.image.imdecode(encode_image(face(11), JPEG)).asnumpy()
    assert np.abs(image.astype(int) - expected).max() <= 1  # two JPEG decoders may round differently


def test_labels_need_not_follow_the_identity_records(tmp_path):
    image = encode_image(face(0), PNG)
    write_flat(
        tmp_path / 'set',
        [([4.0, 6.0], b''), (1.0, image), (1.0, image), (0.0, image), ([1.0, 3.0], b''), ([3.0, 4.0], b'')],
        f'2,{SIDE},{SIDE}',
    )
    assert FaceDataset(tmp_path / 'set').labels.tolist() == [1, 1, 0]


def test_flat_layout_and_its_property_with_more_lines(tmp_path):
    entries = [(float(label), encode_image(face(seed), PNG)) for seed, label in enumerate([2, 0, 1, 0])]
    write_flat(tmp_path / 'set', entries, f'3,{SIDE},{SIDE}\n4\nshuffled\n', keys=[0, 5, 7, 9])
    dataset = FaceDataset(tmp_path / 'set')
    assert dataset.keys.tolist() == [0, 5, 7, 9]
    assert dataset.labels.tolist() == [2, 0, 1, 0]
    assert np.array_equal(dataset.read(3)[0], face(3))


def test_several_labels_in_an_image_header(tmp_path):
    entries = [([float(label), 9.0], encode_image(face(label), PNG)) for label in range(2)]
    write_flat(tmp_path / 'set', entries, f'2,{SIDE},{SIDE}')
    dataset = FaceDataset(tmp_path / 'set')
    assert dataset.labels.tolist() == [0, 1]
    assert np.array_equal(dataset.read(1)[0], face(1))


def test_opening_reads_two_headers_for_each_identity(folder, monkeypatch):
    from recognition.data.records import Records

    read = []
    header = Records.read_header
    monkeypatch.setattr(Records, 'read_header', lambda self, key: read.append(key) or header(self, key))
    FaceDataset(folder)
    assert sorted(read) == [1, 6, 12, 19, 21, 22, 23, 24]


@pytest.mark.parametrize('name', ['property', 'train.rec'])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf'has no {name} \('):
        FaceDataset(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r'no folder .*nowhere; a data set is a folder with property'):
        FaceDataset(tmp_path / 'nowhere')


@pytest.mark.parametrize(
    'text', ['', '4', '4,112', '4,112,x', '0,112,112', '4;112;112', '-4,112,112', '\xff']
)
def test_a_malformed_property(tmp_path, text):
    path = tmp_path / 'property'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(DataError, match=r'property\b.*num_classes,height,width'):
        read_property(path)


@pytest.mark.parametrize(
    ('text', 'fault'),
    [
        (f'5,{SIDE},{SIDE}', 'says 5 classes, and .*train.rec has 4 identity records'),
        (f'3,{SIDE},{SIDE}', 'says 3 classes, and .*train.rec has 4 identity records'),
    ],
)
def test_a_property_that_contradicts_the_identities(folder, text, fault):
    (folder / 'property').write_text(text)
    with pytest.raises(DataError, match=fault):
        FaceDataset(folder)


def test_the_wrong_image_size(folder):
    with pytest.raises(DataError, match='says images of 24x24 pixels, and the network wants 112x96'):
        FaceDataset(folder, (112, 96, 3))
    (folder / 'property').write_text('4,112,112')
    with pytest.raises(
        DataError, match=r'record 1 \(offset 0\) is an image of 24x24 pixels, .* says 112x112'
    ):
        FaceDataset(folder).read(0)


@pytest.mark.parametrize(
    ('key', 'label', 'fault'),
    [
        (0, [21.0], 'record 0 .* has the labels .21.0. where the range'),
        (0, [21.0, 26.0], 'says 4 classes, and .* has 5 identity records'),
        (22, [6.0, 6.0], r'record 22 .* is an empty identity: its range of image keys is \[6, 6\)'),
        (22, [6.0, 60.0], r'record 22 .* has the range \[6, 60\), and image keys are 1 to 20'),
        (22, [12.0, 6.0], r'record 22 .* has the range \[12, 6\)'),
        (22, [0.0, 12.0], r'record 22 .* has the range \[0, 12\)'),
        (22, [6.0, 13.0], 'the identity records 22 and 23 share images'),
        (22, 6.0, 'record 22 .* should be an identity'),
        (22, [float('nan'), 2.0], 'record 22 .* should be an identity'),
        (6, 0.0, 'the identity records 21 and 22 both hold images of label 0'),
        (6, 4.0, 'record 6 .* has label 4; by the 4 classes of property it must be 0 to 3'),
        (6, 0.5, 'record 6 .* has label 0.5'),
        (6, -1.0, 'record 6 .* has label -1'),
    ],
)
def test_records_that_contradict_each_other(folder, key, label, fault):
    rewrite(folder, key, label)
    with pytest.raises(DataError, match=fault):
        FaceDataset(folder)


def test_an_image_with_the_label_of_another_identity(folder):
    rewrite(folder, 7, 3.0, encode_image(face(0), JPEG))
    with pytest.raises(
        DataError, match=r'record 7 .* has label 3, and the first image of its identity has label 1'
    ):
        FaceDataset(folder).read(6)


def test_flat_labels_that_contradict_property(tmp_path):
    entries = [(float(label), b'image') for label in (0, 2, 3)]
    write_flat(tmp_path / 'set', entries, f'4,{SIDE},{SIDE}')
    with pytest.raises(DataError, match=r'says 4 classes, and .* has 3 labels \(label 1 has no image\)'):
        FaceDataset(tmp_path / 'set')
    write_flat(tmp_path / 'set', entries, f'3,{SIDE},{SIDE}')
    with pytest.raises(DataError, match=r'record 2 .* has label 3'):
        FaceDataset(tmp_path / 'set')


@pytest.mark.parametrize('key', [0, 7, 20, 22])
def test_an_index_without_a_key(folder, key):
    lines = (folder / 'train.idx').read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f'{key}\t')]
    (folder / 'train.idx').write_text('\n'.join(kept) + '\n')
    with pytest.raises(DataError, match=rf'train\.idx has no key {key}\b'):
        FaceDataset(folder)


@pytest.mark.parametrize('share', [0.3, 0.99])
def test_a_record_file_that_is_cut_short_is_refused_at_once(folder, share):
    data = (folder / 'train.rec').read_bytes()
    (folder / 'train.rec').write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r'train\.rec: record \d+ \(offset \d+\) .*cut short'):
        FaceDataset(folder)


def test_a_corrupt_image_is_named_by_file_record_and_offset(folder):
    rewrite(folder, 8, 1.0, encode_image(face(0), JPEG)[:200])
    dataset = FaceDataset(folder)
    with pytest.raises(
        DataError, match=r'train\.rec, record 8 \(offset \d+\) holds 200 bytes that are no readable'
    ):
        dataset.read(7)


def test_an_image_header_alone(folder):
    rewrite(folder, 8, 1.0)
    with pytest.raises(DataError, match=r'record 8 .* holds no image'):
        FaceDataset(folder).read(7)


def pixels(dataset):
    """Return (label, sum of the pixels) of every image, in order."""
    return [(label, int(image.sum())) for image, label in map(dataset.read, range(len(dataset)))]


def test_a_set_without_index_is_read_in_the_order_of_the_file(folder):
    expected = pixels(FaceDataset(folder))
    unindexed = FaceDataset(folder, use_index=False)
    assert pixels(unindexed) == expected
    (folder / 'train.idx').unlink()
    assert pixels(FaceDataset(folder)) == expected


def test_a_shuffled_set_without_index(tmp_path):
    entries = [(float(label), encode_image(face(seed), PNG)) for seed, label in enumerate([2, 0, 1, 0])]
    write_flat(tmp_path / 'set', entries, f'3,{SIDE},{SIDE}')
    (tmp_path / 'set' / 'train.idx').unlink()
    dataset = FaceDataset(tmp_path / 'set')
    assert dataset.labels.tolist() == [2, 0, 1, 0]
    assert np.array_equal(dataset.read(3)[0], face(3))


@pytest.mark.parametrize('share', [0.3, 0.99])
def test_a_file_without_index_that_is_cut_short(folder, share):
    (folder / 'train.idx').unlink()
    data = (folder / 'train.rec').read_bytes()
    (folder / 'train.rec').write_bytes(data[: int(len(data) * share)])
    with pytest.raises(
        DataError, match=r'train\.rec, offset \d+: a record .*cut short by the end of the file'
    ):
        FaceDataset(folder)


def test_a_set_in_several_files(tmp_path):
    parts = ([2, 0], [1, 0, 2])
    for number, labels in enumerate(parts):
        entries = [(float(label), encode_image(face(10 * number + k), PNG)) for k, label in enumerate(labels)]
        write_flat(tmp_path / str(number), entries, f'3,{SIDE},{SIDE}')
        for suffix in ('rec', 'idx'):
            (tmp_path / str(number) / f'train.{suffix}').rename(tmp_path / f'train_{number}.{suffix}')
    (tmp_path / 'property').write_text(f'3,{SIDE},{SIDE}')
    (tmp_path / 'train_1.idx').unlink()
    dataset = FaceDataset(tmp_path)
    assert dataset.labels.tolist() == [2, 0, 1, 0, 2]
    assert np.array_equal(dataset.read(3)[0], face(11))
    (tmp_path / 'property').write_text(f'4,{SIDE},{SIDE}')
    with pytest.raises(DataError, match=r'says 4 classes, and .*train_\*\.rec has 3 labels \(label 3 has'):
        FaceDataset(tmp_path)


def test_identities_with_few_images_are_left_out(folder):
    dataset = FaceDataset(folder, fewest=6)
    assert dataset.labels.tolist() == [1] * 6 + [2] * 7
    assert dataset.num_classes == 4
    assert dataset.read(0)[1] == 1
    with pytest.raises(DataError, match=r'no identity of .* has data_images_filter=8 images'):
        FaceDataset(folder, fewest=8)


def test_joined_sets_have_the_identities_of_each(folder, tmp_path):
    entries = [(float(label), encode_image(face(50 + label), PNG)) for label in (1, 0)]
    write_flat(tmp_path / 'other', entries, f'2,{SIDE},{SIDE}')
    joined = open_faces(f'{folder}:{tmp_path / "other"}')
    assert isinstance(joined, JoinedDataset)
    assert (len(joined), joined.num_classes) == (22, 6)
    assert joined.labels.tolist() == [0] * 5 + [1] * 6 + [2] * 7 + [3] * 2 + [5, 4]
    for index in range(22):
        assert joined.read(index)[1] == joined.labels[index]
    assert np.array_equal(joined.read(20)[0], face(51))
    (tmp_path / 'other' / 'property').write_text('2,112,112')
    with pytest.raises(DataError, match=r'images of 24x24 pixels, and .*other of 112x112'):
        open_faces(f'{folder}:{tmp_path / "other"}')


def test_a_folder_with_a_colon_in_its_name(folder):
    other = folder.rename(folder.parent / 'a:b')
    assert split_path(other) == [other]
    assert len(open_faces(other)) == 20
    assert split_path('') == [type(folder)('')]
