"""Cleaning by centres: dominant ones by hand, and a real training whose wrong labels are found."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError, ConfigError, DataError
from recognition.checkpoint.network import load_embedding, load_network
from recognition.cleaning import DROPPED, IDENTITIES, centres_of, clean, merged, samples, write_cleaned
from recognition.data.dataset import FaceDataset
from recognition.data.writer import write_pairs, write_records
from recognition.train import train
from recognition.training.pretrained import classifier_of_run
from tests.helpers.training import SIDE, SMALL

import mxnet as mx

PEOPLE, PHOTOS, WRONG = 4, 12, 2


def picture(person, seed):
    face = np.random.RandomState(person).randint(0, 256, (4, 4, 3)).astype(np.uint8)
    face = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    noise = np.random.RandomState(100 + seed).normal(0, 12, face.shape)
    return cv2.imencode('.png', np.clip(face + noise, 0, 255).astype(np.uint8))[1].tobytes()


def noisy_samples():
    """Of each person twelve photographs, and two of the next person under the same label, in the middle."""
    for person in range(PEOPLE):
        faces = [picture(person, PHOTOS * person + number) for number in range(PHOTOS)]
        others = [picture((person + 1) % PEOPLE, 1000 + PHOTOS * person + number) for number in range(WRONG)]
        yield from ((image, person) for image in [*faces[:5], *others, *faces[5:]])


WRONGLY_LABELLED = np.tile(np.isin(np.arange(PHOTOS + WRONG), [5, 6]), PEOPLE)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('noisy')
    write_records(folder, noisy_samples(), None, (SIDE, SIDE, 3))
    write_pairs(folder / 'val.bin', [picture(0, 1), picture(0, 2)], [True])
    return folder


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    prefix = tmp_path_factory.mktemp('run') / 'model'
    settings = {**SMALL, 'end_epoch': 25, 'net_act': 'relu', 'lr': 0.1, 'loss_m2': 0.2, 'per_batch_size': 8}
    cfg = resolve('r18', 'folder', 'subcenter_arcface', dataset_path=str(folder), **settings)
    return prefix, train(cfg, prefix=prefix, save_every=25, verify=False).epoch


def opened(folder, trained):
    dataset, saved = FaceDataset(folder), load_embedding(*trained)
    centres = centres_of(classifier_of_run(*trained, saved.values), dataset.num_classes, 'the run')
    return dataset, load_network(*trained, image_shape=(SIDE, SIDE, 3)), centres, saved


def test_the_centres_of_another_network_are_refused(folder, trained):
    _, _, _, saved = opened(folder, trained)
    values = {**saved.values, 'fc1_gamma': saved.values['fc1_gamma'] + 1}
    with pytest.raises(
        CheckpointError, match=r'-0025\.state holds another network than \S+-0025\.params: fc1_gamma; its'
    ):
        classifier_of_run(*trained, values)


def test_a_training_with_three_centres_finds_the_wrong_labels(folder, trained, tmp_path):
    dataset, net, centres, saved = opened(folder, trained)
    assert centres.shape == (PEOPLE, 3, 16)
    cleaning = clean(dataset, net, centres, degrees=50, batch_size=10)
    np.testing.assert_array_equal(cleaning.kept, ~WRONGLY_LABELLED)

    new = tmp_path / 'clean'
    count = write_cleaned(new, dataset, cleaning, centres, saved)
    again = FaceDataset(new)
    assert len(again) == count == cleaning.kept.sum()
    assert again.num_classes == PEOPLE
    kept = np.flatnonzero(cleaning.kept)
    assert [again.encoded(i) for i in range(count)] == [dataset.encoded(int(i)) for i in kept]
    assert (new / 'val.bin').read_bytes() == (folder / 'val.bin').read_bytes()
    with open(new / DROPPED) as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == (~cleaning.kept).sum()
    assert all(float(row['degrees']) > 50 and 'train.rec, record' in row['record'] for row in rows)
    with open(new / IDENTITIES) as table:
        rows = list(csv.DictReader(table))
    assert [int(row['kept']) + int(row['dropped']) for row in rows] == [PHOTOS + WRONG] * PEOPLE

    written = load_embedding(new / 'model', 1)
    np.testing.assert_array_equal(written.classifier['fc7_weight'].asnumpy(), merged(centres, cleaning))
    cfg = resolve(
        'r18',
        'folder',
        'arcface',
        dataset_path=str(new),
        pretrained=str(new / 'model'),
        pretrained_fc7='keep',
        **{**SMALL, 'net_act': 'relu', 'end_epoch': 1},
    )
    assert train(cfg, prefix=tmp_path / 'on' / 'model').steps > 0


class Made:
    """A data set of images that are their own embeddings."""

    image_shape = (1, 1, 3)

    def __init__(self, vectors, labels):
        self.vectors, self.labels = vectors, np.array(labels)

    def __len__(self):
        return len(self.labels)

    def read(self, index):
        return np.array(self.vectors[index], np.uint8).reshape(1, 1, 3), int(self.labels[index])

    def encoded(self, index):
        return bytes([index]), int(self.labels[index])


def as_vectors(data):
    return mx.nd.array(data.asnumpy().reshape(len(data), 3))


X, Y, Z, XY = (9, 0, 0), (0, 9, 0), (0, 0, 9), (9, 9, 0)
CENTRES = np.array([[X, Y], [Y, Z], [X, Z]], np.float32)


def test_the_dominant_centre_has_most_images_and_angles_are_to_it():
    dataset = Made([X, X, Y, XY, Y, Y, Z, Z], [0, 0, 0, 0, 1, 1, 1, 2])
    cleaning = clean(dataset, as_vectors, CENTRES, degrees=75, batch_size=3)
    np.testing.assert_array_equal(cleaning.dominant, [0, 0, 1])
    np.testing.assert_allclose(cleaning.angles, [0, 0, 90, 45, 0, 0, 90, 0], atol=1e-3)
    np.testing.assert_array_equal(cleaning.kept, [1, 1, 0, 1, 1, 1, 0, 1])
    assert [np.array(each).tolist() for each in cleaning.counts()] == [[3, 2, 1], [1, 1, 0]]
    np.testing.assert_array_equal(merged(CENTRES, cleaning), [X, Y, Z])


def test_an_identity_without_images_goes_and_labels_close_up_in_order():
    dataset = Made([Z, X, Y, Z, Z], [1, 0, 0, 2, 2])
    cleaning = clean(dataset, as_vectors, np.array([[X, X], [X, Y], [Z, X]], np.float32), degrees=60)
    np.testing.assert_array_equal(cleaning.identities, [0, 2])
    assert list(samples(dataset, cleaning)) == [(b'\x01', 0), (b'\x03', 1), (b'\x04', 1)]
    with pytest.raises(DataError, match='no image is kept'):
        list(samples(dataset, SimpleNamespace(identities=np.array([]), kept=cleaning.kept)))


def test_a_folder_that_is_there_stays_and_a_fault_leaves_none(folder, trained, tmp_path, monkeypatch):
    dataset, net, centres, saved = opened(folder, trained)
    cleaning = clean(dataset, net, centres)
    with pytest.raises(ConfigError, match='already exists'):
        write_cleaned(tmp_path, dataset, cleaning, centres, saved)

    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('recognition.cleaning.save_network', full)
    with pytest.raises(DataError, match='new cannot be written: No space left'):
        write_cleaned(tmp_path / 'new', dataset, cleaning, centres, saved)
    assert list(tmp_path.iterdir()) == []


def test_a_cleaned_set_is_replaced_whole_or_not_at_all(folder, trained, tmp_path, monkeypatch):
    dataset, net, centres, saved = opened(folder, trained)
    given = (dataset, clean(dataset, net, centres), centres, saved)
    write_cleaned(tmp_path / 'new', *given)
    (tmp_path / 'new' / 'old.bin').write_text('of the first')
    with monkeypatch.context() as patch:
        patch.setattr('recognition.cleaning.save_network', lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_cleaned(tmp_path / 'new', *given, overwrite=True)
    assert (tmp_path / 'new' / 'old.bin').is_file()
    write_cleaned(tmp_path / 'new', *given, overwrite=True)
    assert not (tmp_path / 'new' / 'old.bin').exists()
    assert [path.name for path in tmp_path.iterdir()] == ['new']


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({}, 'has no fc7_weight'),
        ({'fc7_weight': np.zeros((4, 16))}, 'one centre for each of 4 identities'),
        ({'fc7_weight': np.zeros((10, 16))}, '10 centres, which are not as many for each of the 4'),
    ],
)
def test_a_classifier_without_several_centres_of_each(values, message):
    with pytest.raises(CheckpointError, match=message):
        centres_of(values, 4, 'x.params')


@pytest.mark.parametrize('degrees', [0, -5, 181, float('nan')])
def test_degrees_out_of_range(degrees):
    with pytest.raises(ConfigError, match='degrees='):
        clean(Made([X], [0]), as_vectors, CENTRES, degrees=degrees)


def test_embeddings_of_another_size():
    with pytest.raises(CheckpointError, match='embeddings of 3 values, and the centres have 5'):
        clean(Made([X], [0]), as_vectors, np.ones((1, 2, 5), np.float32))
