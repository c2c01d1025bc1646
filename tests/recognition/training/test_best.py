"""Which network of a run is the best, by a named figure."""

from __future__ import annotations

import numpy as np
import pytest

from config.errors import ConfigError
from recognition.training.best import Best, parse_target
from recognition.verification.classification import classify
from recognition.verification.evaluation import LabelledSet, PairSet
from recognition.verification.lfw import normalise, verify


def verification(noise):
    draw = np.random.RandomState(0)
    first = draw.randn(200, 8)
    second = np.where(np.arange(200)[:, None] % 2, first, draw.randn(200, 8)) + noise * draw.randn(200, 8)
    rows = normalise(np.stack([first, second], axis=1).reshape(400, 8))
    return verify(rows, np.arange(200) % 2 == 1)


@pytest.mark.parametrize('target', ['', 'lfw', 'lfw:accuracy', 'lfw:auc', 'lfw:eer', 'lfw:tar@0.1'])
def test_a_better_network_is_better_by_every_figure(target):
    best = Best(target, {'lfw': PairSet.figures, 'other': PairSet.figures})
    worse, better = verification(1.0), verification(0.3)
    assert best.improved({'lfw': worse, 'other': worse})
    assert not best.improved({'lfw': worse, 'other': worse})
    assert best.improved({'lfw': better, 'other': better})
    assert not best.improved({'lfw': worse, 'other': worse})


def test_only_the_named_set_counts():
    best = Best('lfw', {'lfw': PairSet.figures, 'other': PairSet.figures})
    worse, better = verification(1.0), verification(0.3)
    assert best.improved({'lfw': worse, 'other': worse})
    assert not best.improved({'lfw': worse, 'other': better})


@pytest.mark.parametrize('target', ['lfw:f1', 'lfw:tar', 'lfw:tar@', 'lfw:tar@2', 'lfw:tar@x', 'lfw:auc@0.1'])
def test_a_target_that_is_none_is_named(target):
    with pytest.raises(ConfigError, match=r'SET:tar@0\.001'):
        parse_target(target)


def test_a_set_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"best='lfv' names no verification set .*did you mean 'lfw'"):
        Best('lfv', {'lfw': PairSet.figures})


@pytest.mark.parametrize(
    ('name', 'target'), [('lfw', 'lfw:top1'), ('test', 'test:eer'), ('test', 'test:tar@0.1')]
)
def test_a_figure_that_the_set_does_not_have_is_named(name, target):
    sets = {'lfw': PairSet.figures, 'test': LabelledSet.figures}
    with pytest.raises(ConfigError, match=f'{name} has no such figure; it may be {name}:accuracy'):
        Best(target, sets)


@pytest.mark.parametrize('target', ['', 'test', 'test:top1', 'test:top5', 'test:loss'])
def test_labelled_images_are_judged_by_their_figures(target):
    labels = np.arange(40) % 8
    scores = np.eye(8)[labels] + np.random.RandomState(0).randn(40, 8)
    worse, better = (classify([(scores + factor * np.eye(8)[labels], labels)]) for factor in (-1, 3))
    best = Best(target, {'test': LabelledSet.figures})
    assert best.improved({'test': worse})
    assert best.improved({'test': better})
    assert not best.improved({'test': worse})


def test_a_rate_that_the_set_does_not_support_is_named():
    with pytest.raises(ConfigError, match='lfw has too few different pairs'):
        Best('lfw:tar@0.00001', {'lfw': PairSet.figures}).improved({'lfw': verification(0.3)})
