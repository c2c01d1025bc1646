from __future__ import annotations

import re
import sys

import cv2
import numpy as np
import pytest

from config.errors import ConfigError, DataError, MissingExtra
from recognition.reports import plots
from recognition.reports.plots import _moving_mean, roc_picture, training_picture
from recognition.utils.packages import install_command
from recognition.verification.lfw import normalise, verify

HISTORY = [
    {'step': step, 'loss': 8 / step, 'accuracy': 1 - 1 / step, 'lr': 0.1 / step} for step in range(1, 50, 7)
]


def verification(noise: float, pairs: int = 60):
    rng = np.random.default_rng(0)
    same = np.arange(pairs) % 2 == 0
    rows = rng.normal(size=(2 * pairs, 6))
    rows[1::2][same] = rows[0::2][same] + noise * rng.normal(size=(same.sum(), 6))
    return verify(normalise(rows), same)


def has_ink_of(path, colour: str) -> bool:
    """Tell whether the picture has pixels of a colour '#rrggbb'."""
    image = cv2.imread(str(path))
    wanted = [int(colour[i : i + 2], 16) for i in (5, 3, 1)]
    return bool((image == wanted).all(axis=2).any())


def test_roc_picture_has_a_curve_of_its_own_colour_for_each_name(tmp_path):
    path = roc_picture(
        tmp_path / 'new' / 'roc.png', {'network': verification(0.3), 'baseline': verification(3)}
    )
    assert path == tmp_path / 'new' / 'roc.png'
    height, width, _ = cv2.imread(str(path)).shape
    assert height > 600
    assert width > 800
    assert has_ink_of(path, '#0072B2')
    assert has_ink_of(path, '#D55E00')
    assert not has_ink_of(path, '#009E73')  # a third curve's
    assert [entry.name for entry in path.parent.iterdir()] == ['roc.png']


@pytest.mark.parametrize('noise', [0.0, 1e6])
def test_roc_picture_of_a_perfect_and_of_a_useless_network(tmp_path, noise):
    assert has_ink_of(roc_picture(tmp_path / 'roc.png', {'x': verification(noise)}), '#0072B2')


def test_training_picture_has_a_row_for_each_course(tmp_path):
    full = training_picture(tmp_path / 'full.png', HISTORY)
    loss = training_picture(tmp_path / 'loss.png', [{'step': r['step'], 'loss': r['loss']} for r in HISTORY])
    for colour in ('#0072B2', '#D55E00', '#009E73'):
        assert has_ink_of(full, colour)
    assert has_ink_of(loss, '#0072B2')
    assert not has_ink_of(loss, '#D55E00')
    assert len(cv2.imread(str(full))) > len(cv2.imread(str(loss)))


def test_verifications_are_points_in_the_row_of_the_accuracy(tmp_path):
    points = [{'step': step, 'verification': {'orl': {'accuracy': step / 50}}} for step in (10, 40)]
    assert has_ink_of(training_picture(tmp_path / 'with.png', HISTORY + points), '#CC79A7')
    assert not has_ink_of(training_picture(tmp_path / 'without.png', HISTORY), '#CC79A7')


def test_a_long_course_is_smoothed_without_a_shift():
    values = np.where(np.arange(400) < 200, 0.0, 1.0)
    values[[50, 300]] = np.nan
    smooth = _moving_mean(values, 11)
    assert np.flatnonzero(np.isnan(smooth)).tolist() == [50, 300]
    np.testing.assert_allclose(smooth[:50], 0, atol=1e-12)
    np.testing.assert_allclose(smooth[-50:], 1)
    assert smooth[194] == pytest.approx(0)
    assert smooth[199] == pytest.approx(5 / 11)
    assert smooth[205] == pytest.approx(1)


@pytest.mark.parametrize(
    'history',
    [
        HISTORY[:1],
        [*HISTORY, {'step': 60, 'loss': float('nan'), 'lr': 0.0}],
        [{'step': 1, 'loss': float('nan')}, {'step': 2, 'loss': float('inf')}],
    ],
)
def test_training_picture_of_short_and_damaged_histories(tmp_path, history, recwarn):
    assert training_picture(tmp_path / 'training.png', history).stat().st_size > 0
    ours = [warning for warning in recwarn if not issubclass(warning.category, DeprecationWarning)]
    assert not [str(warning.message) for warning in ours]


def test_nothing_to_draw_and_nowhere_to_write(tmp_path):
    with pytest.raises(DataError, match='no verification'):
        roc_picture(tmp_path / 'roc.png', {})
    with pytest.raises(DataError, match='loss, accuracy, lr'):
        training_picture(tmp_path / 'training.png', [{'step': 1}])
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(DataError, match='cannot be written'):
        training_picture(tmp_path / 'file' / 'training.png', HISTORY)
    assert [entry.name for entry in tmp_path.iterdir()] == ['file']


def test_without_matplotlib_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(MissingExtra, match=re.escape(install_command('train'))):
        training_picture(tmp_path / 'training.png', HISTORY)


@pytest.mark.parametrize('name', ['model-symbol.json', 'no.xyz', 'png'])
def test_a_path_of_another_file_is_refused(tmp_path, name):
    (tmp_path / name).write_text('mine')
    with pytest.raises(ConfigError, match=r'does not end in \.png'):
        roc_picture(tmp_path / name, {'network': verification(0.3)})
    with pytest.raises(ConfigError, match=r'does not end in \.png'):
        training_picture(tmp_path / name, HISTORY)
    assert (tmp_path / name).read_text() == 'mine'


@pytest.mark.parametrize('epochs', [1, 2, 30])
def test_epochs_are_marked_by_whole_numbers(tmp_path, monkeypatch, epochs):
    drawn = []
    monkeypatch.setattr(plots, '_save', lambda figure, path: drawn.append(figure))
    plots.epochs_picture(
        tmp_path / 'curve.png',
        [
            {'step': epoch, 'epoch': epoch, 'loss': 1 / epoch, 'accuracy': 0.5}
            for epoch in range(1, epochs + 1)
        ],
    )
    drawn[0].canvas.draw()
    axes = drawn[0].axes[0]
    ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    assert ticks == [round(tick) for tick in ticks] != []
