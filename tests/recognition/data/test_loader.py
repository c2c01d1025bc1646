"""Batches of training faces: which images, in which order, whoever decodes them, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.data.augment import Augmentation
from recognition.data.dataset import FaceDataset, FaceLoader
from recognition.data.images import JPEG, encode_image
from recognition.data.records import Records
from recognition.data.writer import write_records
from tests.helpers.noise import SIDE, face, write_noise


@pytest.fixture
def folder(tmp_path):
    return write_noise(tmp_path / 'faces')


def epochs(folder, workers, *, start=0, epoch=1, augment=None, seed=3, batch=4, prefetch=None):
    with FaceLoader(
        FaceDataset(folder), batch, augment, seed=seed, workers=workers, prefetch=prefetch
    ) as loader:
        return list(loader.epoch(epoch, start))


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a, b) for pair in zip(one, other) for a, b in zip(*pair)
    )


AUGMENT = Augmentation(mirror=True, shift=3, rotate=10.0, brightness=0.3)


@pytest.mark.parametrize('workers', [1, 2, 3])
def test_any_number_of_workers_gives_the_same_batches(folder, workers):
    here = epochs(folder, 0, augment=AUGMENT)
    assert same(epochs(folder, workers, augment=AUGMENT), here)
    assert same(epochs(folder, workers, augment=AUGMENT, prefetch=1), here)
    assert same(epochs(folder, workers, augment=AUGMENT, start=2), here[2:])
    assert epochs(folder, workers, start=5) == []


def test_a_batch_is_uint8_channels_first_and_float32(folder):
    for workers in (0, 1):
        images, labels = epochs(folder, workers, batch=6)[0]
        assert (images.shape, images.dtype, images.flags.c_contiguous) == ((6, 3, SIDE, SIDE), np.uint8, True)
        assert (labels.shape, labels.dtype) == ((6,), np.float32)


def test_an_epoch_holds_every_image_once_less_the_last_partial_batch(folder):
    dataset = FaceDataset(folder)
    originals = {dataset.read(i)[0].transpose(2, 0, 1).tobytes(): dataset.read(i)[1] for i in range(20)}
    batches = epochs(folder, 2, batch=6)
    assert len(batches) == 3
    seen = [image.tobytes() for images, _ in batches for image in images]
    assert len(set(seen)) == 18
    assert [originals[image] for image in seen] == [label for _, labels in batches for label in labels]


def test_order_and_augmentation_depend_on_seed_and_epoch(folder):
    base = epochs(folder, 0, augment=AUGMENT)
    assert same(epochs(folder, 0, augment=AUGMENT), base)
    for other in ({'seed': 4}, {'epoch': 2}):
        assert not np.array_equal(
            [labels for _, labels in epochs(folder, 0, augment=AUGMENT, **other)],
            [labels for _, labels in base],
        )
    plain = epochs(folder, 0)
    assert same([(labels,) for _, labels in plain], [(labels,) for _, labels in base])
    assert not same(plain, base)


def test_an_epoch_may_be_left_and_another_begun(folder):
    whole = epochs(folder, 0, epoch=5, augment=AUGMENT)
    with FaceLoader(FaceDataset(folder), 4, AUGMENT, seed=3, workers=2) as loader:
        assert loader.batches_per_epoch == 5
        left = loader.epoch(0)
        next(left)
        assert same(list(loader.epoch(5)), whole)
        with pytest.raises(DataError, match='has begun another epoch'):
            next(left)
        for _ in loader.epoch(1):
            break
        assert same(list(loader.epoch(5)), whole)


def test_a_batch_given_out_is_not_written_to_again(folder):
    with FaceLoader(FaceDataset(folder), 4, workers=1, prefetch=1) as loader:
        batches = loader.epoch(0)
        first = next(batches)[0]
        copy = first.copy()
        list(batches)
        assert np.array_equal(first, copy)


@pytest.mark.parametrize(
    ('options', 'fault'),
    [
        ({'batch_size': 21}, 'a batch of 21 images is more than the 20 images of'),
        ({'batch_size': 0}, 'batch_size=0'),
        ({'workers': -1}, 'workers=-1'),
        ({'seed': -1}, 'seed=-1'),
        ({'prefetch': 0}, 'prefetch=0'),
    ],
)
def test_sizes_that_give_no_batch(folder, options, fault):
    with pytest.raises(ConfigError, match=fault):
        FaceLoader(FaceDataset(folder), **{'batch_size': 4, **options})


def test_epochs_that_do_not_exist(folder):
    with FaceLoader(FaceDataset(folder), 4, workers=0) as loader:
        for epoch, start in ((-1, 0), (0, -1), (0, 6)):
            with pytest.raises(ConfigError, match='out of range'):
                loader.epoch(epoch, start)
    with pytest.raises(DataError, match='closed'):
        loader.epoch(0)


@pytest.mark.parametrize('workers', [0, 2])
def test_a_corrupt_image_is_the_same_error_from_a_worker(tmp_path, workers):
    photographs = [encode_image(face(seed), JPEG) for seed in range(20)]
    photographs[7] = photographs[7][:200]
    samples = [(photograph, number // 10) for number, photograph in enumerate(photographs)]
    write_records(tmp_path, samples, 2, (SIDE, SIDE, 3))
    with FaceLoader(FaceDataset(tmp_path), 5, workers=workers) as loader:
        for epoch in (0, 1):  # the second time too, and not a hang
            with pytest.raises(
                DataError, match=r'^\S*train\.rec, record 8 \(offset \d+\) holds 200 bytes that'
            ):
                list(loader.epoch(epoch))


def damage(folder, copy, keys):
    """Copy a data set and spoil the images of some records."""
    shutil.copytree(folder, copy)
    records = Records(copy / 'train.rec', copy / 'train.idx')
    content = bytearray((copy / 'train.rec').read_bytes())
    for key in keys:
        start = records.offset(key) + 8 + 24  # after the part's head and the image header
        content[start : start + 2] = b'no'
    (copy / 'train.rec').write_bytes(bytes(content))
    return copy


@pytest.mark.parametrize('workers', [0, 2])
def test_images_that_cannot_be_read_are_replaced_up_to_a_limit(folder, tmp_path, caplog, workers):
    dataset = FaceDataset(damage(folder, tmp_path / 'copy', [2, 5]))
    with FaceLoader(dataset, 4, seed=3, workers=workers, faults=2) as loader:
        batches = list(loader.epoch(0))
        assert loader.faults == 2
        assert caplog.text.count('another image takes its place') == 2
        with pytest.raises(
            DataError, match=r'train\.rec, record \d .*; it is image number 3 that cannot be read'
        ):
            list(loader.epoch(1))
    with FaceLoader(dataset, 4, seed=3, workers=1, faults=2) as other:
        for (one, labels), (two, same) in zip(batches, other.epoch(0)):
            np.testing.assert_array_equal(one, two)
            np.testing.assert_array_equal(labels, same)


@pytest.mark.parametrize('ranks', [2, 3])
def test_the_shares_of_several_workers_are_the_batches_of_one(folder, ranks):
    with FaceLoader(FaceDataset(folder), 2 * ranks, mirror, seed=5, workers=0) as whole:
        expected = list(whole.epoch(1))
    for rank in range(ranks):
        with FaceLoader(FaceDataset(folder), 2, mirror, seed=5, workers=1) as part:
            part.share(rank, ranks)
            assert part.batches_per_epoch == len(expected)
            for (images, labels), (all_images, all_labels) in zip(part.epoch(1), expected):
                np.testing.assert_array_equal(images, all_images[2 * rank : 2 * rank + 2])
                np.testing.assert_array_equal(labels, all_labels[2 * rank : 2 * rank + 2])


def test_a_share_of_nothing_is_refused(folder):
    with (
        FaceLoader(FaceDataset(folder), 6, workers=0) as loader,
        pytest.raises(ConfigError, match='9 batches of 6 images are more than the'),
    ):
        loader.share(0, 9)


def mirror(image, rng):
    return image[:, ::-1] if rng.random() < 0.5 else image
