"""A classifier judged on labelled images, from folders and from a data set."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import numpy as np
import pytest

from config.errors import DataError
from recognition.commands.evaluate import main
from recognition.commands.pack import main as pack
from recognition.data.class_names import write_classes
from recognition.verification.classification import softmax
from recognition.verification.confidence import of_share
from tests.helpers.classifiers import NAMES, labelled, record, write_files
from tests.helpers.small_network import SHAPE, write_checkpoint

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """The network's values and files, a folder of class folders, its images and what the network says of them."""
    folder = tmp_path_factory.mktemp('classifier')
    values, files = write_files(folder)
    return values, files, folder / 'set', *labelled(folder / 'set', values)


def test_the_figures_of_a_folder_of_class_folders(made, tmp_path, capsys):
    values, files, folder, images, best = made
    words = ['--model', files['checkpoint'], '--engine', 'mxnet', '-o', str(tmp_path / 'wrong.csv'), '--json']
    assert not main([str(folder), *words])
    told = json.loads(capsys.readouterr().out)
    truth = best.copy()
    truth[0] = (best[0] + 1) % len(NAMES)
    shares = softmax(values.embed(images))
    assert told['images'] == 40
    assert told['top1'] == 39 / 40
    assert told['top1_interval'] == pytest.approx(of_share(39, 40))
    assert told['loss'] == pytest.approx(-np.log(shares[np.arange(40), truth]).mean(), abs=1e-5)
    confusion = np.zeros((8, 8), int)
    np.add.at(confusion, (truth, best), 1)
    assert told['confusion'] == confusion.tolist()
    rows = list(csv.reader((tmp_path / 'wrong.csv').read_text().splitlines()))
    wrong = [str(folder / NAMES[truth[0]] / '00.png'), NAMES[truth[0]], NAMES[best[0]]]
    assert rows[0] == ['image', 'class', 'predicted', 'probability']
    assert [row[:3] for row in rows[1:]] == [wrong]
    assert float(rows[1][3]) == pytest.approx(shares[0].max(), abs=1e-5)


def test_what_is_printed(made, capsys):
    _, files, folder, _, best = made
    assert not main([str(folder), '--model', files['onnx']])
    shown = capsys.readouterr().out
    assert shown.startswith(f'{folder}: accuracy 97.50 % (87.1 to 99.6), top-5 ')
    assert ', 40 images\n' in shown
    last = shown.splitlines()[-1].split()
    assert last[0] == '7'
    assert sum(map(int, last[1:9])) == np.sum(best == 7)
    assert last[9:] == NAMES[7].split()


@pytest.fixture
def packed(made, tmp_path):
    """A data set of the same images; `train.rec` and the order of its classes, which is the alphabet's."""
    _, _, folder, _, _ = made
    pack([str(folder), '-o', str(tmp_path / 'packed'), '--image-size', '14,12'])
    return tmp_path / 'packed', sorted(each.name for each in folder.iterdir())


def test_a_data_set_has_the_same_classes_in_the_same_order(made, packed, tmp_path, capsys, caplog):
    values, files, _, _, _ = made
    folder, names = packed
    write_classes(folder / 'classes.txt', names)
    order = [NAMES.index(name) for name in names]
    sorted_values = values._replace(weight=values.weight[order], bias=values.bias[order])
    model = write_checkpoint(record(tmp_path / 'sorted', names=names), 1, sorted_values)
    for name in ('train', 'test'):  # the test set comes first, where there is one
        assert not main([str(folder), '--model', model, '--engine', 'mxnet', '--json'])
        assert json.loads(capsys.readouterr().out)['top1'] == 39 / 40
        said = [each.getMessage() for each in caplog.records if 'no test.rec' in each.getMessage()]
        assert said == [f'{folder} has no test.rec: its training images are judged']
        if name == 'train':
            for suffix in ('rec', 'idx'):
                shutil.copy(folder / f'train.{suffix}', folder / f'test.{suffix}')
            (folder / 'train.rec').write_bytes(b'no records')
    with pytest.raises(
        DataError, match=r"class 0 of .*packed is 'class a', and that of the network is 'class h'"
    ):
        main([str(folder), '--model', files['checkpoint'], '--engine', 'mxnet'])


def test_other_classes_are_one_sentence(made, tmp_path):
    values, files, folder, _, _ = made
    model = ['--model', files['onnx']]
    shutil.copytree(folder, tmp_path / 'more')
    (tmp_path / 'more' / 'unknown').mkdir()
    cv2.imwrite(str(tmp_path / 'more' / 'unknown' / 'a.png'), np.zeros(SHAPE, np.uint8))
    with pytest.raises(DataError, match=r'more/unknown is named for no class of the network'):
        main([str(tmp_path / 'more'), *model])
    bare = write_checkpoint(record(tmp_path / 'bare', names=()), 1, values)
    (tmp_path / 'two' / 'a').mkdir(parents=True)
    with pytest.raises(DataError, match=r'two has 1 classes, and the network gives 8 scores'):
        main([str(tmp_path / 'two'), '--model', bare])
    (tmp_path / 'none').mkdir()
    with pytest.raises(DataError, match=r'none is neither a data set, .* nor a folder of class folders'):
        main([str(tmp_path / 'none'), *model])
    with pytest.raises(DataError, match=r'there is no folder .*nowhere'):
        main([str(tmp_path / 'nowhere'), *model])
    (folder / NAMES[0] / 'bad.jpg').write_bytes(b'\xff\xd8')
    try:
        with pytest.raises(DataError, match=r'bad\.jpg holds 2 bytes'):
            main([str(folder), *model])
    finally:
        (folder / NAMES[0] / 'bad.jpg').unlink()
