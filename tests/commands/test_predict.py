"""Classes from the command line: what is shown, the CSV files, and mistakes."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest

from config.errors import ConfigError, DataError
from recognition.commands.predict import main
from recognition.predict import Predictor
from recognition.verification.classification import softmax
from tests.helpers.classifiers import NAMES, write_files
from tests.helpers.small_network import SHAPE

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp('classifier'))


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    for name, image in zip(('a.png', 'b/c.png', 'b/d.png'), images):
        (tmp_path / 'photos' / 'b').mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'photos' / name), image[:, :, ::-1])
    return tmp_path / 'photos', images


def test_it_shows_the_shape_the_argmax_and_the_five_names(made, photos, capsys):
    values, files = made
    folder, images = photos
    assert main([str(folder / 'a.png'), '--model', files['checkpoint'], '--engine', 'mxnet']) == 0
    (row,) = softmax(values.embed(images[:1]))
    order = np.argsort(-row)[:5]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f'{folder / "a.png"}: input shape (1, 14, 12, 3), argmax {order[0]}'
    assert [line.split('  ')[-1] for line in lines[1:]] == [NAMES[number] for number in order]
    np.testing.assert_allclose([float(line.split()[0]) for line in lines[1:]], row[order], atol=1e-5)


def test_objects_in_json(made, photos, capsys):
    values, files = made
    folder, images = photos
    main([str(folder), '--model', files['onnx'], '--json', '--top', '2'])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = softmax(values.embed(images))
    assert [each['argmax'] for each in told] == wanted.argmax(axis=1).tolist()
    assert [each['image'] for each in told] == [
        str(folder / name) for name in ('a.png', 'b/c.png', 'b/d.png')
    ]
    assert [len(each['classes']) for each in told] == [2, 2, 2]
    assert told[0]['classes'][0] == {
        'class': NAMES[wanted[0].argmax()],
        'probability': pytest.approx(wanted[0].max(), abs=1e-5),
    }


def rows_of(path):
    return list(csv.reader(path.read_text(encoding='utf-8').splitlines()))


def test_a_submission(made, photos, tmp_path, capsys):
    values, files = made
    folder, images = photos
    out = tmp_path / 'submission.csv'
    command = [str(folder), '--model', files['onnx'], '-o', str(out)]
    assert main([*command, '--columns', 'file,breed']) == 0
    labels = [NAMES[number] for number in values.embed(images).argmax(axis=1)]
    names = ['a.png', 'b/c.png', 'b/d.png']
    assert rows_of(out) == [['file', 'breed'], *([name, label] for name, label in zip(names, labels))]
    assert '3 predictions by' in capsys.readouterr().out
    with pytest.raises(ConfigError, match='replace it with --overwrite'):
        main(command)
    assert main([*command, '--overwrite', '--probabilities']) == 0
    head, *rows = rows_of(out)
    assert head == ['id', *NAMES]
    assert [row[0] for row in rows] == names
    found = np.array([row[1:] for row in rows], np.float64)
    np.testing.assert_allclose(found, softmax(values.embed(images)), atol=2e-6)


def test_images_of_one_name_in_two_folders_have_their_whole_paths(made, photos, tmp_path):
    folder, _ = photos
    out = tmp_path / 'out.csv'
    (tmp_path / 'more').mkdir()
    (tmp_path / 'more' / 'a.png').write_bytes((folder / 'a.png').read_bytes())
    main([str(folder), str(tmp_path / 'more'), '--model', made[1]['onnx'], '-o', str(out)])
    assert [row[0] for row in rows_of(out)][1::3] == [str(folder / 'a.png'), str(tmp_path / 'more' / 'a.png')]


def test_images_that_cannot_be_read_are_listed(made, photos, tmp_path, capsys):
    folder, _ = photos
    (folder / 'bad.jpg').write_bytes(b'\xff\xd8')
    out = tmp_path / 'out.csv'
    assert main([str(folder), '--model', made[1]['onnx'], '-o', str(out)]) == 1
    assert len(rows_of(out)) == 4
    told = capsys.readouterr()
    assert 'bad.jpg holds 2 bytes' in told.err
    assert '1 of 4 images cannot be read' in told.err
    assert '3 predictions' in told.out
    out.unlink()
    with pytest.raises(DataError, match=r'no image can be read: .*bad\.jpg'):
        main([str(folder / 'bad.jpg'), '--model', made[1]['onnx'], '-o', str(out)])
    assert list(tmp_path.glob('*out.csv*')) == []


def test_options_reach_the_predictor(made, tmp_path, capsys):
    image = np.random.default_rng(4).integers(0, 256, (50, 33, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    (tmp_path / 'names.txt').write_text('\n'.join('abcdefgh'))
    words = ['--interpolation', 'nearest', '--classes', str(tmp_path / 'names.txt'), '--top', '8', '--json']
    main([str(tmp_path / 'a.png'), '--model', made[1]['onnx'], *words])
    predictor = Predictor.load(made[1]['onnx'], interpolation='nearest', classes=list('abcdefgh'), top=8)
    (wanted,) = predictor(tmp_path / 'a.png')
    found = json.loads(capsys.readouterr().out)['classes']
    assert [each['class'] for each in found] == list(wanted.classes)
    np.testing.assert_allclose([each['probability'] for each in found], wanted.probabilities, atol=1e-6)


def test_mistakes_are_one_sentence(made, photos):
    folder, _ = photos
    for words, sentence in (
        (['--columns', 'a,b'], '--columns is for a file: give -o FILE.csv, too'),
        (['--probabilities'], '--probabilities is for a file'),
        (['-o', 'a.csv', '--columns', 'a'], "--columns 'a' is not two names"),
        (['-o', 'a.csv', '--json'], '--json prints, and --output writes CSV'),
        (['-o', 'a.txt'], 'must be one of .csv'),
        (['--classes', 'none.txt'], r'none\.txt cannot be read'),
    ):
        with pytest.raises((ConfigError, DataError), match=sentence):
            main([str(folder), '--model', made[1]['onnx'], *words])
