"""Pictures of a run, drawn without a screen: ROC curves, the course of training, confusion matrices."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence, Tuple

import numpy as np

from config.errors import ConfigError, DataError
from recognition.utils.files import PathLike, write_whole
from recognition.utils.packages import require
from recognition.verification.lfw import Verification

# Okabe and Ito's colours, told apart by the colour-blind; the line styles help in grey print
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
STYLES = ('-', '--', '-.', ':')
MARKERS = ('o', 's', '^', 'D')
DOTS_PER_INCH = 150
SMOOTHING = 40  # the moving mean of the training picture is over this part of the run
# one row of the training picture: key of the history, label of the axis, logarithmic
COURSES = (
    ('loss', 'loss (nats)', False),
    ('accuracy', 'accuracy (%)', False),
    ('lr', 'learning rate', True),
)


def roc_picture(path: PathLike, verifications: Mapping[str, Verification]) -> Path:
    """Draw the ROC curves of named verifications as a PNG: true over false accept rate, logarithmic.

    A curve begins at one false accept, the smallest rate that its pairs can show. Raises ConfigError
    for a path that does not end in .png, DataError when there is nothing to draw or the file cannot be written,
    MissingExtra without matplotlib.
    """
    check_picture_path(path)
    if not verifications:
        raise DataError(f'{path}: there is no verification to draw a ROC curve of')
    return _save(_roc_figure(verifications), path)


def roc_image(verifications: Mapping[str, Verification]) -> np.ndarray:
    """Return the picture of `roc_picture` as uint8 RGB (H, W, 3); MissingExtra without matplotlib."""
    return _pixels(_roc_figure(verifications))


def confusion_image(confusion: np.ndarray) -> np.ndarray:
    """Return a confusion matrix (C, C), true classes down and predicted ones across, as a picture uint8 RGB (H, W, 3).

    A square is the darker, the greater its share of the images of its true class. MissingExtra without matplotlib.
    """
    figure = _figure(6.4, 5.4)
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    shown = axes.imshow(100 * shares, cmap='Blues', vmin=0, vmax=100)
    figure.colorbar(shown, label='share of the true class (%)')
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    return _pixels(figure)


def epochs_picture(path: PathLike, history: Sequence[Mapping[str, Any]]) -> Path:
    """Draw training loss, training accuracy and the accuracies on labelled images over the epochs as a PNG.

    Those of the training are means over each epoch. Errors are those of `training_picture`, whose `history` it takes.
    """
    check_picture_path(path)
    steps = [record for record in history if 'loss' in record]
    epochs = sorted({record['epoch'] for record in steps})
    curves = {
        f'train {key}': {
            epoch: float(np.mean([record[key] for record in steps if record['epoch'] == epoch]))
            for epoch in epochs
        }
        for key in ('loss', 'accuracy')
    }
    for record in history:
        for name, figures in record.get('verification', {}).items():
            curves.setdefault(f'{name} accuracy', {})[record['epoch']] = figures['accuracy']
    figure = _figure(6.4, 4.4)
    axes = figure.subplots()
    for number, (label, points) in enumerate(curves.items()):
        marker = 'o' if len(points) == 1 else None  # a line of one point would not be seen
        axes.plot(list(points), list(points.values()), label=label, marker=marker, **_look(number))
    axes.set_xlabel('epoch')
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set_ylim(bottom=0)
    axes.legend(framealpha=0.9)
    return _save(figure, path)


def _roc_figure(verifications: Mapping[str, Verification]) -> Any:
    figure = _figure(6.4, 5.4)
    axes = figure.subplots()
    smallest = min(float(v.far[v.far > 0].min()) for v in verifications.values())
    for number, (name, verification) in enumerate(verifications.items()):
        far, tar = _steps(verification)
        label = f'{name}: accuracy {100 * verification.accuracy:.1f} %, AUC {verification.auc:.3f}'
        axes.plot(far, 100 * tar, label=label, linewidth=1.8, **_look(number))
    axes.plot(*_chance(smallest), color='#999999', linewidth=1, linestyle=':', label='chance')
    axes.set_xscale('log')
    axes.set_xlim(smallest, 1)
    axes.set_ylim(0, 102)
    axes.set_xlabel('false accept rate (share of different pairs, logarithmic)')
    axes.set_ylabel('true accept rate (% of same pairs)')
    pairs = sorted({v.pairs for v in verifications.values()})
    axes.set_title(f'ROC curve over {" / ".join(f"{p:,}" for p in pairs)} pairs')
    figure.legend(loc='outside lower center')  # outside: wherever the curves run, it hides none
    return figure


def training_picture(path: PathLike, history: Sequence[Mapping[str, Any]]) -> Path:
    """Draw loss, accuracy and learning rate over the steps as a PNG, with their moving mean over 1/40 of the run.

    `history` is that of `recognition.train`: records with `step` and any of `loss`, `accuracy` (0..1) and `lr`,
    and records with `step` and `verification`, whose accuracies are drawn as points. Values that are not finite
    leave a gap. Raises ConfigError for a path that does not end in .png, DataError when there is nothing to draw or
    the file cannot be written, MissingExtra without matplotlib.
    """
    check_picture_path(path)
    courses = [course for course in COURSES if any(course[0] in record for record in history)]
    if not courses:
        raise DataError(f'{path}: the history holds none of {", ".join(key for key, _, _ in COURSES)}')
    figure = _figure(6.4, 0.8 + 2.0 * len(courses))
    rows = figure.subplots(len(courses), 1, sharex=True, squeeze=False)[:, 0]
    for axes, course, colour in zip(rows, courses, COLOURS):
        _draw_course(axes, history, course, colour)
        if course[0] == 'accuracy':
            _draw_verifications(axes, history)
            axes.set_ylim(0, 103)
    rows[0].set_title('Training')
    rows[-1].set_xlabel('training step (batches)')
    figure.align_ylabels(rows)
    return _save(figure, path)


def check_picture_path(path: PathLike) -> None:
    """Raise ConfigError unless the path ends in .png: it may be that of another file, which a picture would replace."""
    if Path(path).suffix.lower() != '.png':
        raise ConfigError(f'{path} does not end in .png, and the picture is a PNG')


def _draw_course(
    axes: Any, history: Sequence[Mapping[str, Any]], course: Tuple[str, str, bool], colour: str
) -> None:
    key, label, logarithmic = course
    records = [record for record in history if key in record]
    steps = [record['step'] for record in records]
    values = np.array([record[key] for record in records], dtype=float) * (100 if key == 'accuracy' else 1)
    finite = np.isfinite(values)
    values[~finite] = np.nan
    marker = 'o' if len(records) == 1 else None  # a line of one point would not be seen
    window = 1 if logarithmic else max(1, len(values) // SMOOTHING)
    if window > 1:
        axes.plot(steps, values, linewidth=0.8, color=colour, alpha=0.25)
    axes.plot(
        steps, _moving_mean(values, window), marker=marker, linewidth=1.6, color=colour, label='training'
    )
    axes.set_ylabel(label)
    if logarithmic and finite.any() and values[finite].min() > 0:
        axes.set_yscale('log')


def _draw_verifications(axes: Any, history: Sequence[Mapping[str, Any]]) -> None:
    records = [record for record in history if 'verification' in record]
    names = list(dict.fromkeys(name for record in records for name in record['verification']))
    for name, colour, marker in zip(names, COLOURS[3:], MARKERS):
        points = [
            (record['step'], 100 * record['verification'][name]['accuracy'])
            for record in records
            if name in record['verification']
        ]
        axes.plot(*zip(*points), marker=marker, linewidth=1, color=colour, label=f'verification on {name}')
    if names:
        axes.legend(loc='lower right', framealpha=0.9)


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of each value and its neighbours, fewer of them at the ends; a gap stays one."""
    whole = np.nan_to_num(values)
    ones = (~np.isnan(values)).astype(float)
    kernel = np.ones(window)
    with np.errstate(invalid='ignore'):
        means = np.convolve(whole, kernel, 'same') / np.convolve(ones, kernel, 'same')
    return np.where(np.isnan(values), np.nan, means)


def _steps(verification: Verification) -> Any:
    """Return the points of the curve as steps, from its first false accept on."""
    far, tar = verification.far, verification.tar
    first = float(far[far > 0].min())
    start = float(tar[far == 0].max())
    inside = far > 0
    x, y = np.append(first, far[inside]), np.append(start, tar[inside])
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def _chance(smallest: float) -> Any:
    far = np.geomspace(smallest, 1, 100)
    return far, 100 * far


def _look(number: int) -> Dict[str, Any]:
    return {'color': COLOURS[number % len(COLOURS)], 'linestyle': STYLES[number % len(STYLES)]}


def _figure(width: float, height: float) -> Any:
    """Return a matplotlib figure (inches) that needs no screen and touches no global state."""
    agg, figures = (
        require(f'matplotlib.{part}', 'train', 'drawing curves')
        for part in ('backends.backend_agg', 'figure')
    )
    figure = figures.Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout='constrained')
    agg.FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Any) -> np.ndarray:
    _plain(figure)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3].copy()


def _plain(figure: Any) -> None:
    """Draw grids and leave out what says nothing."""
    for axes in figure.axes:
        axes.grid(visible=True, which='major', color='#dddddd', linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ('top', 'right'):
            axes.spines[side].set_visible(False)


def _save(figure: Any, path: PathLike) -> Path:
    _plain(figure)
    drawn = io.BytesIO()
    figure.savefig(drawn, format='png')
    return write_whole(path, drawn.getvalue())
