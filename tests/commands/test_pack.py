from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.commands.pack import main
from recognition.data.dataset import FaceDataset
from recognition.data.image_headers import FORMATS

TOOL = Path(__file__).parents[2] / 'tools' / 'make_rec.py'


def make(*arguments):
    main([str(argument) for argument in arguments])


def image(path, seed=0, size=(112, 112)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 3))  # smooth, as JPEG likes it
    return path


@pytest.fixture
def faces(tmp_path):
    for number, name in enumerate(['ann/2.jpg', 'ann/1.jpg', 'bob/1.PNG', 'cid/1.bmp', 'cid/2.jpeg']):
        image(tmp_path / 'faces' / name, number)
    (tmp_path / 'faces' / 'ann' / 'notes.txt').write_text('not an image')
    (tmp_path / 'faces' / 'README').write_text('not a person')
    return tmp_path / 'faces'


def test_a_folder_of_people(faces, tmp_path):
    make(faces, '-o', tmp_path / 'set')
    dataset = FaceDataset(tmp_path / 'set', (112, 112, 3))
    assert dataset.labels.tolist() == [0, 0, 1, 2, 2]
    for index, name in enumerate(['ann/1.jpg', 'ann/2.jpg', 'bob/1.PNG', 'cid/1.bmp']):
        expected = cv2.imread(str(faces / name))[..., ::-1]
        difference = np.abs(dataset.read(index)[0].astype(int) - expected)
        assert difference.max() <= (0 if index < 3 else 12)  # the BMP became a JPEG


def test_images_of_another_size_are_cropped_to_its_proportions_and_scaled(tmp_path):
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 255  # the middle square
    (tmp_path / 'faces' / 'ann').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'faces' / 'ann' / '1.png'), wide)
    for size in ((48, 48), (200, 200)):
        make(tmp_path / 'faces', '-o', tmp_path / 'set', '--image-size', '{},{}'.format(*size), '--overwrite')
        picture = FaceDataset(tmp_path / 'set').read(0)[0]
        assert picture.shape == (*size, 3)
        assert picture.min() > 240
    make(tmp_path / 'faces', '-o', tmp_path / 'set', '--image-size', '10,90', '--overwrite')
    assert FaceDataset(tmp_path / 'set').image_shape == (10, 90, 3)


def test_a_list(faces, tmp_path):
    lines = ['1\tfaces/cid/2.jpeg\t1\t0\t0\t9\t9', '1\tfaces/ann/1.jpg\t0', f'1\t{faces}/cid/1.bmp\t1', '']
    (tmp_path / 'faces.lst').write_text('\n'.join(lines))
    make(tmp_path / 'faces.lst', '-o', tmp_path / 'set')
    dataset = FaceDataset(tmp_path / 'set')
    assert dataset.labels.tolist() == [0, 1, 1]
    assert np.array_equal(dataset.read(1)[0], cv2.imread(str(faces / 'cid' / '2.jpeg'))[..., ::-1])


@pytest.mark.parametrize(
    ('line', 'fault'),
    [
        ('1 a.jpg 0', r'line 2 .* aligned<TAB>path<TAB>label'),
        ('1\ta.jpg\tann', r'line 2 .* aligned<TAB>path<TAB>label'),
        ('0\ta.jpg\t0\t1\t2\t3\t4', 'line 2: a.jpg is marked as not aligned'),
        ('1\ta.jpg\t1', r'a\.jpg cannot be read: No such file'),
        ('1\tfaces/bob/1.PNG\t2', r'faces\.lst: label 1 has no image'),
    ],
)
def test_a_wrong_line_of_a_list(faces, tmp_path, line, fault):
    (tmp_path / 'faces.lst').write_text(f'1\tfaces/ann/1.jpg\t0\n{line}\n')
    with pytest.raises(DataError, match=fault):
        make(tmp_path / 'faces.lst', '-o', tmp_path / 'set')


def test_a_set_is_replaced_by_overwrite_only(faces, tmp_path):
    make(faces, '-o', tmp_path / 'set')
    before = {path.name: path.read_bytes() for path in (tmp_path / 'set').iterdir()}
    (faces / 'bob' / '1.PNG').unlink()
    image(faces / 'bob' / '9.png', 9)
    with pytest.raises(ConfigError, match=r'train\.rec already exists; .*--overwrite'):
        make(faces, '-o', tmp_path / 'set')
    assert {path.name: path.read_bytes() for path in (tmp_path / 'set').iterdir()} == before
    make(faces, '-o', tmp_path / 'set', '--overwrite')
    assert (tmp_path / 'set' / 'train.rec').read_bytes() != before['train.rec']


def test_faults_are_all_named_and_nothing_is_written(faces, tmp_path, caplog):
    (faces / 'bob' / '1.PNG').write_bytes(b'no image')
    (faces / 'dan').mkdir()
    (faces / 'cid' / '1.bmp').write_bytes(b'')
    caplog.set_level(logging.INFO)
    with pytest.raises(DataError, match=r'^3 faults, named above, so nothing'):
        make(faces, '-o', tmp_path / 'set')
    assert [record.getMessage().replace(f'{faces}/', '') for record in caplog.records] == [
        f'bob/1.PNG holds 8 bytes that are no readable image; it is damaged or cut short, or not {FORMATS}',
        'cid/1.bmp holds no image; it is damaged or cut short',
        'dan has no image',
    ]
    assert not (tmp_path / 'set').exists()


def test_one_fault_is_the_error_itself(faces, tmp_path):
    (faces / 'dan').mkdir()
    with pytest.raises(DataError, match=r'faces/dan has no image$'):
        make(faces, '-o', tmp_path / 'set')


def test_faults_may_be_left_out(faces, tmp_path, caplog):
    (faces / 'ann' / '1.jpg').write_bytes(b'no image')
    (faces / 'bob' / '1.PNG').write_bytes(b'no image')
    with caplog.at_level(logging.WARNING):
        make(faces, '-o', tmp_path / 'set', '--skip-bad')
    assert len(caplog.records) == 3
    assert FaceDataset(tmp_path / 'set').labels.tolist() == [0, 1, 1]


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r'no folder .*nowhere'):
        make(tmp_path / 'nowhere', '-o', tmp_path / 'set')
    with pytest.raises(DataError, match=r'no\.lst cannot be read'):
        make(tmp_path / 'no.lst', '-o', tmp_path / 'set')
    image(tmp_path / 'flat' / '1.jpg')
    with pytest.raises(DataError, match='flat has no folder of images in it'):
        make(tmp_path / 'flat', '-o', tmp_path / 'set')
    (tmp_path / 'empty.lst').write_text('\n')
    with pytest.raises(DataError, match=r'empty\.lst lists no image'):
        make(tmp_path / 'empty.lst', '-o', tmp_path / 'set')
    with pytest.raises(DataError, match=r'empty\.lst has no pair of readable images'):
        make('--pairs', tmp_path / 'empty.lst', '-o', tmp_path / 'mine.bin')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['empty.lst', 'flat']


@pytest.mark.parametrize(('bad', 'left'), [('ann bob', '1 of the people'), ('ann bob cid', 'nobody')])
def test_too_few_people_left(faces, tmp_path, bad, left):
    for person in bad.split():
        for path in (faces / person).iterdir():
            path.write_bytes(b'no image')
    with pytest.raises(DataError, match=f'--skip-bad leaves {left}, and a training set needs at least 2'):
        make(faces, '-o', tmp_path / 'deep' / 'set', '--skip-bad')
    assert not (tmp_path / 'deep').exists()


def test_pairs(faces, tmp_path):
    text = 'faces/ann/1.jpg faces/ann/2.jpg 1\n\nfaces/ann/1.jpg\tfaces/bob/1.PNG\t0\n'
    (tmp_path / 'pairs.txt').write_text(text)
    make('--pairs', tmp_path / 'pairs.txt', '-o', tmp_path / 'mine.bin')
    with (tmp_path / 'mine.bin').open('rb') as file:
        images, issame = pickle.load(file)
    names = ['ann/1.jpg', 'ann/2.jpg', 'ann/1.jpg', 'bob/1.PNG']
    assert images == [(faces / name).read_bytes() for name in names]
    assert issame == [True, False]
    with pytest.raises(ConfigError, match=r'mine\.bin already exists'):
        make('--pairs', tmp_path / 'pairs.txt', '-o', tmp_path / 'mine.bin')


@pytest.mark.parametrize(
    ('line', 'fault'),
    [
        ('faces/ann/1.jpg faces/bob/1.PNG', 'line 2 .* `first second 0|1`'),
        ('faces/ann/1.jpg faces/bob/1.PNG same', 'line 2 .* `first second 0|1`'),
        ('faces/ann/1.jpg faces/bob/7.png 0', r'7\.png cannot be read'),
    ],
)
def test_wrong_pairs(faces, tmp_path, line, fault):
    (tmp_path / 'pairs.txt').write_text(f'faces/ann/1.jpg faces/ann/2.jpg 1\n{line}\n')
    with pytest.raises(DataError, match=fault):
        make('--pairs', tmp_path / 'pairs.txt', '-o', tmp_path / 'mine.bin')
    assert not (tmp_path / 'mine.bin').exists()


def test_pairs_of_bad_images_may_be_left_out(faces, tmp_path):
    (tmp_path / 'pairs.txt').write_text(
        'faces/ann/1.jpg faces/ann/2.jpg 1\nfaces/ann/1.jpg faces/bob/7.png 0\n'
    )
    make('--pairs', tmp_path / 'pairs.txt', '-o', tmp_path / 'mine.bin', '--skip-bad')
    with (tmp_path / 'mine.bin').open('rb') as file:
        assert pickle.load(file)[1] == [True]


@pytest.mark.parametrize(
    ('arguments', 'fault'),
    [
        (['-o', 'set'], 'give either a source of people or --pairs'),
        (['faces', '--pairs', 'p.txt', '-o', 'set'], 'give either'),
        (['faces', '-o', 'set', '--image-size', '112'], 'is not H,W or H,W,C'),
        (['faces', '-o', 'set', '--quality', '0'], 'no JPEG quality'),
    ],
)
def test_a_wrong_command_line(arguments, fault, capsys):
    with pytest.raises(ConfigError, match=fault):
        make(*arguments)
    assert tuple(capsys.readouterr()) == ('', '')


def test_the_program_prints_one_sentence_and_fails(tmp_path):
    command = [sys.executable, str(TOOL), 'nowhere', '-o', 'set']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith('error: there is no folder nowhere; give a folder with')
    assert done.stderr.count('\n') == 1
    assert not (tmp_path / 'set').exists()
