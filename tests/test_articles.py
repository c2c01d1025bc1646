"""The articles' programs, as their readers run them, on what packages carry."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

from config import resolve
from recognition.checkpoint.matching import parts_of
from tests.helpers.keras_numbers import AXES, key_of, value_of, write_weights

ARTICLES = Path(__file__).resolve().parents[1] / 'examples' / 'articles'
PHOTOGRAPH = Path(sys.modules['sklearn'].__file__).parent / 'datasets' / 'images' / 'china.jpg'


def run_article(name, *words, cwd):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', ARTICLES / name, *map(str, words)],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': str(ARTICLES.parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def write_densenet(path):
    """Write DenseNet-121 as Keras 2 does, with the values of tests/reference/README.md."""
    own = parts_of(resolve('keras_densenet121'))
    shapes = {**own.backbone, **own.head}.items()
    theirs = {key_of(name): tuple(shape[axis] for axis in AXES[len(shape)]) for name, shape in shapes}
    write_weights(path, {key: value_of(key, shape) for key, shape in theirs.items()})


def test_keras_s_densenet_says_of_a_photograph_what_keras_says(tmp_path, reference):
    write_densenet(tmp_path / 'weights.h5')
    shown = run_article('keras_densenet.py', 'weights.h5', PHOTOGRAPH, cwd=tmp_path)
    theirs = np.load(reference / 'keras' / 'photograph_densenet121.npz')['y']
    assert 'Input image shape: (1, 224, 224, 3)\n' in shown
    assert f'argmax: {theirs.argmax()}\n' in shown
    found = [float(share) for share in re.findall(r"', (\S+)\)", shown.partition('Predicted: ')[2])]
    np.testing.assert_allclose(found, np.sort(theirs)[:-6:-1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ('words', 'least'),
    [
        (['--side', 32, '--batch-size', 32, '--epochs', 2], 0.7),
        pytest.param([], 0.97, marks=pytest.mark.slow),
    ],
)
def test_d2l_s_densenet_learns_digits(tmp_path, words, least):
    shown = run_article('d2l_densenet.py', *words, cwd=tmp_path)
    loss, train, test = re.search(r'^loss (\S+), train acc (\S+), test acc (\S+)$', shown, re.M).groups()
    assert float(test) >= least
    assert float(train) > 0.8
    assert f'train accuracy {100 * float(train):.1f} %, test accuracy {100 * float(test):.1f} %' in shown
    assert float(loss) < 1
    assert re.search(r'^\d+\.\d examples/sec$', shown, re.M)
    assert (tmp_path / 'runs' / 'd2l_densenet' / 'curve.png').stat().st_size > 1000


@pytest.mark.slow
def test_a_competition_ends_in_a_submission(tmp_path):
    """Digits of three classes, whose test images are named after the digit."""
    digits = load_digits()
    for split, part in (('train', slice(0, 300)), ('test', slice(300, 360))):
        for number, (image, label) in enumerate(zip(digits.images[part], digits.target[part])):
            if label < 3:
                folder = tmp_path / split / (f'class_{label}' if split == 'train' else '')
                folder.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / f'{number}.png'), (image * 15).astype(np.uint8))
    settings = ['net_multiplier=0.125', 'image_shape=64,64,3', 'per_batch_size=8', 'lr=0.05']
    words = [word for each in settings for word in ('--config', each)]
    shown = run_article('keras_resnet50.py', 'train', 'test', '--epochs', 2, *words, cwd=tmp_path)
    assert 'top-1 on the held-out photographs: ' in shown
    head, *rows = (tmp_path / 'submission.csv').read_text().splitlines()
    assert head == 'id,label'
    assert {row.split(',')[0] for row in rows} == {path.name for path in (tmp_path / 'test').iterdir()}
    assert {row.split(',')[1] for row in rows} <= {'class_0', 'class_1', 'class_2'}


def test_xception_s_blocks_and_table_are_the_article_s(tmp_path):
    shown = run_article('keras_xception.py', cwd=tmp_path)
    assert 'res_block: (1, 128, 74, 74) to (1, 256, 37, 37)' in shown
    assert 'middle_flow: (1, 728, 19, 19) to (1, 728, 19, 19)' in shown
    for line in ('Total params: 22,817,480', 'Trainable params: 22,805,848', 'Non-trainable params: 11,632'):
        assert line in shown
    assert 'Total params: 22805848\n' in shown  # of mx.viz.print_summary


def test_insightface_s_densenet_is_drawn_and_counted(tmp_path):
    shown = run_article('insightface_densenet.py', cwd=tmp_path)
    assert 'Total params: 32639991\n' in shown
    assert '32,639,991 parameters and 86,720 moving statistics\n' in shown
    assert (tmp_path / 'densenet.svg').read_text().count('<svg') == 1
