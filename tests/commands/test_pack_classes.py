"""`facesymbols pack` on classes: train.rec, test.rec and classes.txt from folders and from IDX files."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.commands.check_data import main as check_data
from recognition.commands.pack import main
from recognition.data.dataset import FaceDataset, class_names
from recognition.data.image_sources import resized
from tests.helpers.classifiers import write_idx

FILES = ['classes.txt', 'property', 'test.idx', 'test.rec', 'train.idx', 'train.rec']
SIZE = ('--image-size', '8,8')


def make(*arguments):
    main([*map(str, arguments), *SIZE])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def photographs(folder, **counts):
    """Write PNG files of noise, `counts` for each class."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            draw = np.random.default_rng([number, *f'{folder.name}/{name}'.encode()])
            cv2.imwrite(str(folder / name / f'{number}.png'), draw.integers(0, 256, (8, 8, 3), np.uint8))
    return folder


def held(dataset):
    """Return the label of each image by its pixels."""
    return {dataset.read(index)[0].tobytes(): dataset.read(index)[1] for index in range(len(dataset))}


@pytest.fixture
def birds(tmp_path):
    return photographs(tmp_path / 'birds', owl=12, auk=10, tit=1)


def test_folders_with_test_images_of_their_own(birds, tmp_path, capsys):
    tests = photographs(tmp_path / 'tests', tit=2, owl=3)
    make(birds, '--test', tests, '-o', tmp_path / 'set')
    assert names(tmp_path / 'set') == FILES
    assert class_names(tmp_path / 'set') == ['auk', 'owl', 'tit']
    train, test = FaceDataset(tmp_path / 'set'), FaceDataset(tmp_path / 'set', name='test')
    assert train.labels.tolist() == [0] * 10 + [1] * 12 + [2]
    assert test.labels.tolist() == [1] * 3 + [2] * 2
    assert test.read(0)[0][..., ::-1].tolist() == cv2.imread(str(tests / 'owl' / '0.png')).tolist()
    assert check_data([str(tmp_path / 'set'), '--data-workers', '0']) == 0
    assert '23 images of 3 identities, 5 to test: no fault' in capsys.readouterr().out


def test_images_are_found_below_a_class_and_hidden_ones_are_left_out(birds, tmp_path):
    photographs(birds / 'owl', Käuze=2)
    photographs(birds, **{'.git': 1, 'tit/.cache': 1})
    (birds / 'auk' / '._0.png').write_bytes(b'no image')
    make(birds, '--test-share', '0', '-o', tmp_path / 'set')
    assert class_names(tmp_path / 'set') == ['auk', 'owl', 'tit']
    assert np.bincount(FaceDataset(tmp_path / 'set').labels).tolist() == [10, 14, 1]


def test_a_class_without_images_may_be_left_out(birds, tmp_path, caplog):
    for name in ('bat', 'zebra'):
        (birds / name).mkdir()
    with pytest.raises(DataError, match='2 faults, named above, so nothing is written'):
        make(birds, '--test-share', '0.1', '-o', tmp_path / 'set')
    caplog.clear()
    shutil.copytree(birds, tmp_path / 'others')
    make(birds, '--test', tmp_path / 'others', '-o', tmp_path / 'set', '--skip-bad')
    assert [record.getMessage() for record in caplog.records if record.levelname == 'WARNING'] == [
        f'left out: {birds / name} has no image' for name in ('bat', 'zebra')
    ]
    assert class_names(tmp_path / 'set') == ['auk', 'owl', 'tit']
    assert FaceDataset(tmp_path / 'set').labels.tolist() == [0] * 10 + [1] * 12 + [2]


def test_images_of_another_size_are_what_predict_makes_of_them(tmp_path):
    wide = np.repeat(np.arange(0, 240, 5, dtype=np.uint8)[None, :, None], 16, axis=0).repeat(3, axis=2)
    (tmp_path / 'birds' / 'auk').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'birds' / 'auk' / '1.png'), wide)
    make(tmp_path / 'birds', '--test-share', '0', '-o', tmp_path / 'set')
    packed = FaceDataset(tmp_path / 'set').read(0)[0].astype(int)
    assert np.abs(packed - resized(wide, (8, 8))).max() <= 3  # what a JPEG loses


def test_a_share_of_each_class_is_drawn_by_the_seed(birds, tmp_path):
    for name, seed in (('one', 1), ('again', 1), ('other', 2)):
        make(birds, '--test-share', '0.25', '--seed', seed, '-o', tmp_path / name)
    files = {name: (tmp_path / name / 'test.rec').read_bytes() for name in ('one', 'again', 'other')}
    assert files['one'] == files['again'] != files['other']
    train, test = (FaceDataset(tmp_path / 'one', name=name) for name in ('train', 'test'))
    assert np.bincount(test.labels).tolist() == [2, 3]  # of the class with one image none
    assert np.bincount(train.labels).tolist() == [8, 9, 1]
    assert not {*held(train)} & {*held(test)}
    make(birds, '-o', tmp_path / 'whole')
    assert {**held(train), **held(test)} == held(FaceDataset(tmp_path / 'whole'))
    assert names(tmp_path / 'whole') == ['property', 'train.idx', 'train.rec']


def test_idx_files_stay_as_they_are_to_the_pixel(tmp_path):
    draw = np.random.RandomState(0)
    images, labels = draw.randint(0, 256, (9, 8, 8)).astype(np.uint8), np.arange(9, dtype=np.uint8) % 3
    train = write_idx(tmp_path, 'train', images, labels, '.gz', '.gz')
    test = write_idx(tmp_path, 't10k', images[::-1].copy(), labels[::-1].copy())
    make(train, '--test', test, '-o', tmp_path / 'set')
    assert class_names(tmp_path / 'set') == ['0', '1', '2']
    for name in ('train', 'test'):
        dataset = FaceDataset(tmp_path / 'set', (8, 8, 1), name=name)
        assert held(dataset) == {image.tobytes(): label for image, label in zip(images, labels)}
    (tmp_path / 'names').write_text('shirt\nbag\nboot\n')
    make(train, '--classes', tmp_path / 'names', '-o', tmp_path / 'set', '--overwrite')
    assert class_names(tmp_path / 'set') == ['shirt', 'bag', 'boot']
    assert 'test.rec' not in names(tmp_path / 'set')  # the older set's
    rgb = FaceDataset(tmp_path / 'set').read(1)[0]
    assert np.array_equal(rgb, np.repeat(images[3][..., None], 3, axis=2))


def test_an_idx_file_is_scaled(tmp_path):
    path = write_idx(tmp_path, 'train', np.full((2, 4, 4), 9, np.uint8), np.array([0, 1], np.uint8))
    make(path, '-o', tmp_path / 'set')
    assert FaceDataset(tmp_path / 'set', (8, 8, 1)).read(0)[0].tolist() == np.full((8, 8, 1), 9).tolist()


def test_what_does_not_fit_is_refused_and_nothing_written(birds, tmp_path):
    out = ('-o', tmp_path / 'set')
    photographs(tmp_path / 'tests', auk=1, emu=1)
    (tmp_path / 'nothing' / 'auk').mkdir(parents=True)
    pixels = np.zeros((3, 8, 8), np.uint8)
    idx = write_idx(tmp_path, 'train', pixels, np.array([0, 1, 3], np.uint8))
    more = write_idx(tmp_path, 't10k', pixels, np.array([0, 1, 9], np.uint8))
    (tmp_path / 'names').write_text('a\nb\nc\n')
    (tmp_path / 'faces.lst').write_text('1\ta.jpg\t0\n')
    for error, words, arguments in (
        (
            DataError,
            "has the class 'emu', which .*birds does not have",
            (birds, '--test', tmp_path / 'tests'),
        ),
        (DataError, 'class 2 has no image', (idx,)),
        (DataError, r'has the label 3, and .*names names 3 classes', (idx, '--classes', tmp_path / 'names')),
        (DataError, 'there is no folder', (birds, '--test', tmp_path / 'nowhere')),
        (ConfigError, 'has the images to train; give others', (birds, '--test', f'{birds}/')),
        (DataError, 'nothing has no image$', (birds, '--test', tmp_path / 'nothing')),
        (ConfigError, 'contradict each other', (birds, '--test', birds, '--test-share', '0.1')),
        (ConfigError, 'folders in .* name their classes', (birds, '--classes', tmp_path / 'names')),
        (ConfigError, 'is a list of faces', (tmp_path / 'faces.lst', '--test-share', '0.1')),
        (ConfigError, 'is not a share, from 0 to below 1', (birds, '--test-share', '1')),
        (ConfigError, 'do not go with --pairs', ('--pairs', tmp_path / 'names', '--test', birds)),
    ):
        with pytest.raises(error, match=words) as caught:
            make(*arguments, *out)
        assert '\n' not in str(caught.value)
        assert not (tmp_path / 'set').exists()
    write_idx(tmp_path, 'train', pixels, np.array([0, 1, 2], np.uint8))
    with pytest.raises(DataError, match=f"class '9'|{more.name} has the class '3'"):
        make(idx, '--test', more, *out)
    (birds / 'auk' / '0.png').write_bytes(b'no image')
    with pytest.raises(DataError, match='no readable image'):
        make(birds, '--test-share', '0.5', *out)
    assert not (tmp_path / 'set').exists()


def test_unreadable_images_are_left_out_but_not_a_class(birds, tmp_path, caplog):
    """Classes that the test images lack are no fault."""
    photographs(tmp_path / 'tests', auk=2)
    (tmp_path / 'tests' / 'auk' / '0.png').write_bytes(b'no image')
    make(birds, '--test', tmp_path / 'tests', '-o', tmp_path / 'set', '--skip-bad')
    assert len(FaceDataset(tmp_path / 'set', name='test')) == 1
    assert sum('left out' in record.message for record in caplog.records) == 1
    (tmp_path / 'tests' / 'auk' / '1.png').write_bytes(b'no image')
    for source, options, words in (
        (birds, ('--test', tmp_path / 'tests'), 'there is no image to test$'),
        (tmp_path / 'tests', ('--test-share', '0.5'), 'auk has no readable image, and each class needs one'),
    ):
        with pytest.raises(DataError, match=words):
            make(source, *options, '-o', tmp_path / 'other', '--skip-bad')
        assert not (tmp_path / 'other').exists()


def test_hidden_files_and_folders_are_no_classes(birds, tmp_path):
    photographs(birds, **{'.ipynb_checkpoints': 1})
    (birds / 'auk' / '._0.png').write_bytes(b'no image')
    make(birds, '--test-share', '0.2', '-o', tmp_path / 'set')
    assert (tmp_path / 'set' / 'classes.txt').read_text().split() == ['auk', 'owl', 'tit']


def test_files_of_a_class_set_are_not_replaced_unasked(birds, tmp_path):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / 'classes.txt').write_text('mine\n')
    with pytest.raises(ConfigError, match=r'classes\.txt already exists'):
        make(birds, '-o', tmp_path / 'set')


def test_faults_of_a_class_set_are_found(birds, tmp_path, capsys):
    shutil.copytree(birds, tmp_path / 'tests')
    make(birds, '--test', tmp_path / 'tests', '-o', tmp_path / 'set')
    (tmp_path / 'set' / 'classes.txt').write_text('a\nb\n')
    assert check_data([str(tmp_path / 'set'), '--data-workers', '0', '--limit', '1']) == 1
    told = capsys.readouterr().out
    assert 'names 2 classes, and there are 3' in told
    assert 'images that train and verify (23)' in told
    assert 'test.rec' in told
